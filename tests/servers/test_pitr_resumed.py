"""A rebuild to a moment on Debian 12, which is broken off twice between the recovery and the first
start in the place, and goes on when the same is typed again.
"""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.servers.controller import ROOT, Controller
from tests.servers.lab import Lab
from tests.servers.server import Server
from tests.servers.test_pitr import CA_FILE, Site, new_site
from tests.servers.test_pitr_rebuild import FROM, refused
from tests.waiting import wait_for

pytestmark = [pytest.mark.gameday, pytest.mark.timeout(1800)]

UNIT = "postgresql@15-main.service"
DROP_IN = f"/etc/systemd/system/{UNIT}.d/broken.conf"
DATA = "/var/lib/postgresql/15"


@dataclasses.dataclass
class Lost:
    """A server that is gone, and the moment that is wanted of it: before the last of its rows."""

    site: Site
    moment: str


def variables(site: Site, **more: object) -> dict[str, object]:
    """Of the host: its engine finds a store by a name alone."""
    return {
        "backup_db_name": "crm",
        "backup_db_user": "crm",
        "backup_pitr": True,
        "backup_s3_endpoint_url": site.store.endpoint_url.replace(site.store.host, "localhost"),
        "backup_s3_addressing_style": "virtual",
        **more,
    }


def named(lab: Lab, server: Server, site: Site) -> Server:
    server.write(CA_FILE, Path(site.store.ca_bundle).read_text())
    server.inside("sh", "-c", f"echo {lab.address} {site.bucket}.localhost >> /etc/hosts")
    return server


def obstacle(server: Server, text: str) -> None:
    """What systemd is told of PostgreSQL's service beside its unit; empty: nothing any more."""
    if text:
        server.write(DROP_IN, text)
    else:
        server.inside("rm", DROP_IN)
    server.inside("systemctl", "daemon-reload")


def state_of(server: Server) -> str:
    return server.inside("systemctl", "show", "-P", "ActiveState", UNIT).stdout.strip()


def folders(server: Server) -> list[str]:
    return server.inside("ls", DATA).stdout.split()


def begin(controller: Controller, words: Sequence[str]) -> subprocess.Popen:
    """A call that is killed later."""
    words, environment = controller.command(*words)
    nothing = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    return subprocess.Popen(words, cwd=ROOT, env=environment, start_new_session=True, **nothing)


@pytest.fixture(scope="module")
def lost(lab, lab_s3_tls, new_module_server, tmp_path_factory) -> Lost:
    """A server on Debian 12 that kept every second; all that it wrote is archived."""
    controller = Controller(lab, tmp_path_factory.mktemp("resumed") / "controller")
    server = new_module_server("bookworm", layer="ready", name="minute")
    site = new_site(server, controller, lab_s3_tls, backup_drill_schedule="")
    named(lab, server, site)
    controller.add(server, **variables(site))
    server.sql(
        "SET ROLE crm; CREATE TABLE users AS SELECT n AS id FROM generate_series(1, 500) n", "crm"
    )
    controller.run("setup.yml", "-e", "backup_pitr_allow_restart=true")
    server.sql("INSERT INTO users VALUES (1001)", "crm")
    moment = site.now()
    piece = site.switch("INSERT INTO users VALUES (1002)")
    wait_for("it", lambda: piece in " ".join(site.keys("postgres-backup-pitr/")), timeout=90)
    server.crash()
    server.down()
    return Lost(site, moment)


def test_a_rebuild_that_is_broken_off_twice_goes_on_when_it_is_typed_again(lost, lab, new_server):
    site, controller = lost.site, lost.site.controller
    words = (*FROM, "-e", f"target_time={lost.moment}")
    [file] = (controller.inventory / "host_vars").glob("minute*pitr_key.yml")
    key = re.search(r"backup_pitr_cipher_key: (\S+)", file.read_text())[1]
    new = named(lab, new_server("bookworm", name="minute"), site)
    controller.add(new, **variables(site, backup_pitr_cipher_key=key))

    early = (*FROM, "-e", "target_time=2026-01-27T14:03:00Z")
    refused(site, early, "2026-01-27T14:03:00Z lies before the first backup of the cluster")
    assert new.inside("test", "-e", "/usr/lib/postgresql", check=False).returncode == 1

    # recovered and made ready; then the empty one cannot be stopped, and the power goes
    new.inside("mkdir", "-p", os.path.dirname(DROP_IN))
    obstacle(new, "[Unit]\nRefuseManualStop=yes\n")
    first = controller.run(*words, check=False)
    said = " ".join(first.output.split())
    assert first.status == 2, first.output[-4000:]
    assert 'stopped in the phase "recover"' in said, first.output[-4000:]
    assert "Failed to exchange the data of PostgreSQL" in said
    [recovered] = [one for one in folders(new) if re.fullmatch(r"main_recovered_[0-9_-]+", one)]
    new.crash()
    new.boot()
    assert new.sql("SELECT count(*) FROM pg_database WHERE datname = 'crm'") == "0"

    refused(site, FROM, f"A rebuild to {lost.moment} has come to its data here")

    # exchanged; then whoever typed it is gone before PostgreSQL is started
    obstacle(new, "[Service]\nExecStartPre=/bin/sleep 900\n")
    second = begin(controller, words)
    try:
        wait_for("the exchange", lambda: state_of(new) == "activating", timeout=300)
    finally:
        os.killpg(second.pid, signal.SIGKILL)
        second.wait()
    obstacle(new, "")
    new.inside("systemctl", "stop", UNIT)
    assert recovered not in folders(new)
    [empty] = [one for one in folders(new) if one.startswith("main_before_")]

    third = controller.run(*words, check=False)
    said = " ".join(third.output.split())
    assert third.status == 0, third.output[-6000:]
    assert "The lost server's cluster is there since an earlier attempt" in said
    # as the first attempt has seen it
    assert f"The cluster is there as of {lost.moment}: from" in said
    last = re.search(r"Its last transaction: (\S+),", said)[1]
    following = re.search(r"the next, of (\S+), is not in it", said)[1]
    assert last <= lost.moment < following
    assert new.sql("SELECT count(*), max(id) FROM users", "crm") == "501|1001"
    assert empty not in folders(new)
    assert folders(new) == ["main", "main-pitr-spool"]
    rebuilt = Site(new, controller, site.store, site.bucket)
    last = rebuilt.info()["backup"][-1]
    assert (last["type"], last["archive"]["start"][:8]) == ("full", "00000002")
    assert rebuilt.program("pitr-watch", config="").stdout == ""
