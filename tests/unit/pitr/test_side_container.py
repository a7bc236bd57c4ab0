"""The container of a recovered cluster: what it gets of the live one, as Docker 26.1 tells of that.

With a real Docker: ``tests/servers/test_pitr_docker.py``. Here a program stands in for it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from pathlib import Path

import pytest

from postgres_backup.errors import PostgresBackupError, UsageError
from postgres_backup.machine import state
from postgres_backup.pitr import at_rest, recover, route, side_container
from postgres_backup.pitr import docker as docker_cli
from postgres_backup.pitr.side_cluster import SIDE
from tests.unit.pitr.test_boxed import BOXED
from tests.unit.pitr.test_drill import side

DATA = "/var/lib/postgresql/data"
VOLUME = "crm-db-1_recovered_2026-01-27_15-20-11"
IMAGE = f"sha256:{'ab' * 32}"
LIVE = {
    "image": IMAGE,
    "mounts": [
        {
            "Type": "volume",
            "Name": "crm_data",
            "Source": "/var/lib/docker/volumes/crm_data/_data",
            "Destination": DATA,
            "Driver": "local",
            "RW": True,
        },
        {
            "Type": "bind",
            "Source": "/srv/crm/pitr/engine",
            "Destination": "/etc/pgbackrest",
            "RW": False,
        },
    ],
    "hosts": ["store:192.0.2.7"],
    "command": ["postgres", "-c", "archive_mode=on", "-c", "shared_preload_libraries=x"],
    "removed": False,
    "networks": "crm_default other ",
}
#: each call in a line of its own; what is told of the live container comes from a file
DOCKER = """#!/bin/sh
here=$(dirname "$0")
printf '%s ' "$@" >> "$here/asked"; echo >> "$here/asked"
case "$1 $2" in
"container inspect") case "$4" in *ExitCode*) cat "$here/ended";; *) cat "$here/live";; esac;;
"ps --all") cat "$here/there";;
"volume ls") cat "$here/volumes";;
"run --rm") if [ -e "$here/fails" ]; then cat "$here/fails" >&2; exit 40; fi
    if [ -e "$here/tells" ]; then cat "$here/tells"; fi;;
"rm --force") if [ -e "$here/refuses" ]; then cat "$here/refuses" >&2; exit 1; fi;;
esac
"""


class Docker:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "docker").write_text(DOCKER)
        (folder / "docker").chmod(0o755)
        for name in ("there", "volumes", "asked"):
            (folder / name).write_text("")
        self.live()

    def live(self, **changes: object) -> None:
        (self.folder / "live").write_text(json.dumps(LIVE | changes))

    def asked(self, first: str) -> list[str]:
        lines = (self.folder / "asked").read_text().splitlines()
        return [line for line in lines if line.startswith(first)]


@pytest.fixture
def docker(tmp_path, monkeypatch) -> Docker:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return Docker(tmp_path)


@pytest.fixture
def settings(tmp_path):
    return dataclasses.replace(BOXED, state_dir=str(tmp_path / "state"))


def test_the_backup_goes_into_a_volume_of_its_own_by_the_same_image(docker, settings):
    side_container.unpack(settings, VOLUME, DATA, ["--set=X", "--archive-mode=off"])
    mine = f"--label postgres-backup.recovered={VOLUME} "
    assert docker.asked("volume create") == [f"volume create {mine}{VOLUME} "]
    made, unpacked = docker.asked("run")
    assert made.endswith(f"{IMAGE} -d -o postgres -g postgres -m 0700 {DATA} ")
    words = f"--stanza=main --pg1-path={DATA} --set=X --archive-mode=off restore "
    assert unpacked.endswith(f"{IMAGE} {words}")
    for run in (made, unpacked):
        assert mine in run
        assert f"type=volume,source={VOLUME},target={DATA} " in run
        assert "crm_data" not in run
        assert "type=bind,source=/srv/crm/pitr/engine,target=/etc/pgbackrest,readonly " in run
        assert "--network crm_default --add-host store:192.0.2.7 " in run
    assert settings.s3_secret_key not in (docker.folder / "asked").read_text()


def test_how_large_the_pieces_of_its_log_are_is_asked_of_the_unpacked_one(docker, settings):
    (docker.folder / "tells").write_text("Bytes per WAL segment:                67108864\n")
    told = side_container.control_data(settings, VOLUME, DATA)
    assert at_rest.read_segment_bytes(told) == 64 << 20
    [run] = docker.asked("run")
    assert "--entrypoint pg_controldata " in run
    assert run.endswith(f"{IMAGE} -D {DATA} ")
    assert f"type=volume,source={VOLUME},target={DATA} " in run


def test_what_the_engine_says_in_there_is_told_without_its_hint(docker, settings):
    (docker.folder / "fails").write_text(
        "P00   INFO: restore command begin 2.55.1\n"
        "P00  ERROR: [040]: unable to restore to path '/fast' because it contains files\n"
        "            HINT: try using --delta if this is what you intended.\n"
        "P00   INFO: restore command end: aborted with exception [040]\n"
    )
    with pytest.raises(PostgresBackupError) as raised:
        side_container.unpack(settings, VOLUME, DATA, [])
    why = "unable to restore to path '/fast' because it contains files"
    assert str(raised.value).splitlines()[0] == f"Failed to unpack the cluster: {why}"
    (docker.folder / "fails").write_text("docker: Error response from daemon: no such image.")
    with pytest.raises(PostgresBackupError, match="cluster: docker: Error response from daemon"):
        side_container.unpack(settings, VOLUME, DATA, [])


def test_what_could_act_on_others_is_said_last_and_counts(docker, settings):
    config = f"{DATA}/postgresql.conf"
    side_container.start(settings, VOLUME, DATA, config, {"archive_mode": "off"})
    [run] = docker.asked("run")
    assert run.index("archive_mode=on") < run.index("archive_mode=off")
    assert run.index("shared_preload_libraries=x") < run.index(f"config_file={config}")
    assert "-c listen_addresses=127.0.0.1 " in run
    folder = Path(side_container.sockets(settings))
    assert f"type=bind,source={folder},target=/run/postgres-backup " in run
    # everybody is trusted in there, so nobody else comes so far
    assert (folder.parent.stat().st_mode & 0o777, "trust" in (folder / "hba.conf").read_text()) == (
        0o700,
        True,
    )


@pytest.mark.parametrize(
    ("command", "given"),
    [
        (["-c", "shared_preload_libraries=x"], ["-c", "shared_preload_libraries=x"]),
        (["postgres", "-c", "a=1"], ["-c", "a=1"]),
        (["postgres"], []),
        (["sh", "-c", "exec postgres"], []),
        (None, []),
    ],
)
def test_what_the_live_one_is_begun_with_is_kept_where_it_is_postgresql_s(
    docker, settings, command, given
):
    docker.live(command=command)
    side_container.start(settings, VOLUME, DATA, f"{DATA}/postgresql.conf", {})
    assert f"{IMAGE} {' '.join([*given, '-D'])} {DATA} -c " in docker.asked("run")[0]


@pytest.mark.parametrize(
    ("networks", "which"),
    [("", "bridge"), ("host ", "bridge"), ("none crm_default ", "crm_default")],
)
def test_it_has_a_network_of_its_own_address(docker, settings, networks, which):
    docker.live(networks=networks, hosts=None)
    side_container.unpack(settings, VOLUME, DATA, [])
    assert f"--network {which} --mount" in docker.asked("run")[1]


@pytest.mark.parametrize(
    ("place", "directory"),
    [("/var/lib/postgresql", "/var/lib/postgresql/18/docker"), (DATA, DATA), (f"{DATA}/", DATA)],
)
def test_the_volume_lies_where_the_live_one_s_lies(docker, settings, place, directory):
    below = {"Type": "bind", "Source": "/fast", "Destination": f"{directory}/pg_wal"}
    data = LIVE["mounts"][0] | {"Destination": place}
    root = {"Type": "bind", "Source": "/x", "Destination": "/var"}
    docker.live(mounts=[root, data, below])
    side_container.unpack(settings, VOLUME, directory, [])
    for run in docker.asked("run"):
        assert f"source={VOLUME},target={place.rstrip('/')} " in run
        assert "/fast" not in run
        assert "source=/x,target=/var,readonly " in run


def test_where_nothing_is_mounted_the_volume_lies_at_the_data(docker, settings):
    docker.live(mounts=[])
    side_container.unpack(settings, VOLUME, DATA, [])
    assert f"type=volume,source={VOLUME},target={DATA} " in docker.asked("run")[0]


@pytest.mark.parametrize("source", ["/a,readonly=false", '/a"b', "/a\nb"])
def test_a_path_that_docker_would_read_as_more_than_a_path_is_refused(docker, settings, source):
    docker.live(mounts=[{"Type": "bind", "Source": source, "Destination": "/etc/x"}])
    with pytest.raises(UsageError, match="a comma or a quote"):
        side_container.unpack(settings, VOLUME, DATA, [])
    assert not docker.asked("run") + docker.asked("volume create")


@pytest.mark.parametrize("told", ["", "[]", '{"image": "x"}', '{"image": 1}'])
def test_an_answer_that_is_none_is_told_as_that(docker, settings, told):
    (docker.folder / "live").write_text(told)
    with pytest.raises(PostgresBackupError, match="Failed to ask Docker for the container crm-db-"):
        side_container.unpack(settings, VOLUME, DATA, [])
    assert not docker.asked("run") + docker.asked("volume create")


def test_only_what_has_our_label_is_ended_and_removed(docker, settings):
    (docker.folder / "there").write_text("aaa\nbbb\n")
    (docker.folder / "volumes").write_text(f"{VOLUME}\n")
    side_container.remove(settings, VOLUME)
    mine = f"--filter label=postgres-backup.recovered={VOLUME} "
    assert docker.asked("ps") == [f"ps --all --quiet {mine}"]
    assert docker.asked("volume ls") == [f"volume ls --quiet {mine}"]
    assert docker.asked("rm") == [f"rm --force --volumes {one} " for one in ("aaa", "bbb")]
    assert docker.asked("volume rm") == [f"volume rm {VOLUME} "]


def test_one_that_is_being_removed_by_itself_is_waited_for(docker, settings, monkeypatch):
    (docker.folder / "refuses").write_text("removal of container aaa is already in progress")
    (docker.folder / "there").write_text("aaa\n")
    looks = iter(["aaa\n", "aaa\n", ""])
    ask = docker_cli.do

    def asked(failing: str, *words: str, **options: int | None) -> str:
        (docker.folder / "there").write_text(next(looks, "")) if words[0] == "ps" else None
        return ask(failing, *words, **options)

    monkeypatch.setattr(docker_cli, "do", asked)
    side_container.remove(settings, VOLUME)
    assert next(looks, "none left") == "none left"


def test_one_that_stays_keeps_its_volume_and_is_told(docker, settings, monkeypatch):
    (docker.folder / "refuses").write_text("driver failed")
    (docker.folder / "there").write_text("aaa\n")
    (docker.folder / "volumes").write_text(f"{VOLUME}\n")
    monkeypatch.setattr(side_container, "_GOING", 0)
    with pytest.raises(PostgresBackupError, match="Failed to end the recovered cluster: driver f"):
        side_container.remove(settings, VOLUME)
    assert not docker.asked("volume rm")


def test_what_nobody_remembers_is_in_the_way_until_it_is_removed(docker, settings):
    """As where the disk was full when it was to be remembered."""
    other = "crm-db-10_recovered_2026-01-27_15-20-11"
    (docker.folder / "there").write_text(f"{VOLUME}\n{VOLUME}\n{other}\n\n")
    (docker.folder / "volumes").write_text(f"{VOLUME}\n")
    with pytest.raises(UsageError, match=f"of which nothing is remembered: {VOLUME}\n"):
        route.require_none(settings)
    would = recover.remove(settings, check=True)
    assert (would["changed"], would["directory"]) == (True, VOLUME)
    assert not docker.asked("rm") + docker.asked("volume rm")
    done = recover.remove(settings, check=False)
    assert recover.removed_lines(done, check=False) == [f"{VOLUME} is removed"]
    assert docker.asked("volume rm") == [f"volume rm {VOLUME} "]
    for name in ("there", "volumes"):
        (docker.folder / name).write_text(f"{other}\n")
    assert not recover.remove(settings, check=False)["changed"]
    route.require_none(settings)


def test_what_is_remembered_is_removed_though_docker_has_nothing_of_it(docker, settings):
    state.write(settings, SIDE, {**side(), "directory": VOLUME})
    with pytest.raises(UsageError, match="already, of 2026-11-29"):
        route.require_none(settings)
    assert recover.remove(settings, check=False)["directory"] == VOLUME
    assert not len(state.read(settings, SIDE))
    state.write(settings, SIDE, {**side(), "directory": "crm_data"})
    with pytest.raises(UsageError, match="crm_data is no volume of a recovered cluster"):
        recover.remove(settings, check=False)
    assert not docker.asked("volume rm")


@pytest.mark.parametrize("others", [[], ["fast"]])
def test_a_cluster_that_lies_in_several_places_is_refused(monkeypatch, settings, others):
    monkeypatch.setattr(route, "connect", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(route, "values", lambda *_: others)
    if not others:
        route._require_one_place(settings)
        return
    with pytest.raises(UsageError, match=r"it has tablespaces, which lie outside.*: fast"):
        route._require_one_place(settings)


def test_only_one_that_has_ended_in_good_order_can_take_the_live_one_s_place(docker, settings):
    (docker.folder / "there").write_text("aaa\n")
    (docker.folder / "ended").write_text("137\n")
    with pytest.raises(PostgresBackupError, match=r"Failed to stop the recovered cluster: .* 137"):
        side_container.stop(VOLUME)
    assert not docker.asked("rm")
    (docker.folder / "ended").write_text("0\n")
    side_container.stop(VOLUME)
    assert docker.asked("stop") == ["stop -t 60 aaa "] * 2
    assert docker.asked("rm") == ["rm --force --volumes aaa "]
    assert not docker.asked("volume rm")


def test_when_it_has_taken_the_place_nothing_is_remembered_or_left(docker, settings):
    at = {**side(), "directory": VOLUME}
    state.write(settings, SIDE, at)
    (docker.folder / "volumes").write_text(f"{VOLUME}\n")
    side_container.start(settings, VOLUME, DATA, f"{DATA}/postgresql.conf", {})
    assert recover.forget(settings, at) == []
    assert not len(state.read(settings, SIDE))
    assert not Path(side_container.sockets(settings)).exists()
    assert docker.asked("volume rm") == [f"volume rm {VOLUME} "]
