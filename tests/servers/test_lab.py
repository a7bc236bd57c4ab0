"""The lab itself: what its servers are, what they survive, and that nothing of it stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.servers import golden
from tests.servers.host import STATE, processes_of
from tests.servers.lab import Lab

ROOT = Path(__file__).resolve().parents[2]


def _traces(bridge: str) -> dict[str, list[str]]:
    """What of a lab is to be seen on this machine."""

    def lines(*command: str) -> list[str]:
        return [
            line
            for line in subprocess.run(
                command, capture_output=True, text=True, check=True
            ).stdout.splitlines()
            if bridge in line
        ]

    return {
        "mounts": [
            line for line in Path("/proc/mounts").read_text().splitlines() if bridge in line
        ],
        "links": lines("ip", "-brief", "link"),
        "namespaces": lines("ip", "netns", "list"),
        "rules": lines("iptables-save"),
        "loop devices": lines("losetup", "--list", "--noheadings"),
        "processes": [str(pid) for pid in processes_of(STATE / bridge)],
        "disks": [
            str(path)
            for place in ("/dev/shm", "/var/tmp")
            for path in Path(place).glob(f"postgres-backup-lab-{bridge}*")
        ],
        "state": [str(path) for path in STATE.glob(bridge)]
        + [str(path) for path in STATE.glob(f"forwarding/for-{bridge}")],
        "cgroups": [str(path) for path in Path("/sys/fs/cgroup").rglob(f"*{bridge}-*")],
    }


@pytest.mark.parametrize("suite", golden.SUITES)
def test_a_new_server_is_a_whole_debian(new_server, suite):
    """systemd runs everything, sshd lets the lab's key in, the clock is where it was asked to be,
    the world can be reached.
    """
    golden_ready = new_server(suite)  # the image may have to be made first
    golden_ready.down()
    started = time.monotonic()
    server = new_server(suite, timezone="Asia/Kathmandu")
    assert time.monotonic() - started < 20
    version = {"bookworm": "12", "trixie": "13"}[suite]
    assert f'VERSION_ID="{version}"' in server.ssh("cat /etc/os-release").stdout
    assert server.inside("systemctl", "is-system-running").stdout.strip() == "running"
    assert server.ssh("systemctl is-active cron ssh").stdout.split() == ["active", "active"]
    assert server.ssh("date +%z").stdout.strip() == "+0545"
    assert server.ssh("hostname").stdout.strip() == server.name
    assert server.ssh("stat -f -c %T /").stdout.strip() == "ext2/ext3"
    assert server.ssh("apt-get update -qq && apt-cache policy postgresql").stdout
    for absent in (
        "aws",
        "pip3",
        "git",
        "psql",
        "docker",
    ):  # what our roles bring must not be there already
        assert server.ssh(f"command -v {absent}", check=False).returncode != 0


def test_it_keeps_its_disk_over_a_reboot_and_a_power_loss(new_server):
    server = new_server()
    server.ssh("echo kept > /root/file && sync")
    server.reboot()
    assert server.ssh("cat /root/file").stdout == "kept\n"
    server.ssh("systemd-run --unit=busy sleep 600")
    server.crash()
    assert not server.running
    server.boot()
    assert server.ssh("cat /root/file").stdout == "kept\n"
    assert server.ssh("systemctl is-active busy", check=False).stdout.strip() == "inactive"


def test_links_users_and_files(new_server):
    server, other = new_server("bookworm"), new_server()
    server.ssh(f"ping -c 1 -W 2 {other.address}")
    other.link(False)
    assert server.ssh(f"ping -c 1 -W 1 {other.address}", check=False).returncode != 0
    other.link(True)
    server.ssh(f"ping -c 1 -W 2 {other.address}")
    server.add_user("deploy")
    assert server.ssh("id -un && sudo -n id -un", user="deploy").stdout.split() == [
        "deploy",
        "root",
    ]
    server.write("/etc/example/file", "a 'quoted' $value\n", "0600")
    assert (
        server.ssh("stat -c %a /etc/example/file && cat /etc/example/file").stdout
        == "600\na 'quoted' $value\n"
    )
    server.slow_link("8mbit")
    started = time.monotonic()
    server.ssh("head -c 2000000 /dev/zero")
    assert time.monotonic() - started > 1.5  # 2 MB at 1 MB a second
    server.slow_link()


@pytest.mark.parametrize(("suite", "major"), [("bookworm", 15), ("trixie", 17)])
def test_postgres_layer(new_server, suite, major):
    server = new_server(suite, layer="postgres")
    assert int(server.sql("SHOW server_version_num")) // 10000 == major
    assert server.sql("SELECT datcollate FROM pg_database WHERE datname = 'template1'") == "C.UTF-8"


_RUN = """
import time

def test_wait(new_server):
    new_server().ssh("echo up")
    print("READY", flush=True)
    time.sleep({seconds})
"""


@pytest.mark.xdist_group("labtrace")  # the name of the lab that each of them makes
@pytest.mark.parametrize("how", ["leave", "terminate", "kill"])
def test_nothing_stays_behind(tmp_path, lab, how):
    """Neither after a run that ends, nor after one that is terminated; what a killed one leaves,
    the next removes.
    """
    bridge, network = "labtrace", "10.77.200"
    before = Path("/proc/sys/net/ipv4/ip_forward").read_text()
    script = tmp_path / "test_run.py"
    script.write_text(_RUN.format(seconds=0 if how == "leave" else 60))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-s",
        "-p",
        "no:cacheprovider",
        "-p",
        "tests.ending",
        "-p",
        "tests.servers.conftest",
    ]
    command += ["--rootdir", str(tmp_path), "-c", os.devnull, str(script)]
    environment = {
        **os.environ,
        "LAB_BRIDGE": bridge,
        "LAB_NETWORK": network,
        "PYTHONPATH": f"{ROOT}:{ROOT}/module_utils",
    }
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as run:
        output = ""
        while "READY" not in output:
            line = run.stdout.readline()
            assert line, output
            output += line
        if how != "leave":
            assert _traces(bridge)["loop devices"]
            run.send_signal({"terminate": signal.SIGTERM, "kill": signal.SIGKILL}[how])
            run.wait()
        else:
            output += run.stdout.read()
    if how == "kill":
        assert _traces(bridge)["processes"]
        Lab(bridge, network).stop()
    assert {what: found for what, found in _traces(bridge).items() if found} == {}, output
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == before
