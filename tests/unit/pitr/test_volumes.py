"""One volume's data for another's: all of it, or nothing. That PostgreSQL runs with it then is
shown by tests/servers/test_pitr_docker.py; here a program stands in for Docker that has folders for
volumes, and runs what it is given with the folder where it was mounted.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest

from postgres_backup.errors import DatabaseError, PostgresBackupError, UsageError
from postgres_backup.machine import state
from postgres_backup.pitr import at_rest, promote, volumes
from postgres_backup.pitr.cluster import Cluster
from postgres_backup.pitr.side_cluster import SIDE
from postgres_backup.settings import Settings
from tests.unit.pitr.test_boxed import BOXED, PUSHED
from tests.unit.pitr.test_drill import side
from tests.unit.pitr.test_side_container import DATA, LIVE

INCOMING = "crm-db-1_recovered_2026-01-27_15-20-11"
DOCKER = """#!/bin/sh
here=$(dirname "$0")
printf '%s ' "$@" >> "$here/asked"; echo >> "$here/asked"
for last in "$@"; do :; done
case "$1 $2" in
"container inspect") cat "$here/live";;
"volume inspect")
    [ -d "$here/volumes/$last" ] || { echo "no such volume" >&2; exit 1; }
    sed -e "s,@,$here/volumes/$last/_data," "$here/volume";;
"volume create") mkdir -p "$here/volumes/$last/_data";;
"volume rm") rm -r "$here/volumes/$last";;
"ps --filter") cat "$here/users";;
"stop -t") rm "$here/runs";;
"start --") touch "$here/runs"; [ ! -e "$here/volumes/crm_data/_data/broken" ];;
"run --rm")
    [ ! -e "$here/runs" ] || exit 9
    while [ "$1" != -ec ]; do shift; done
    script=$(echo "$2" | sed -e "s,/volumes,$here/volumes,g"); shift 3
    for one in "$@"; do shift; set -- "$@" "$here$one"; done
    PATH=$here/programs:$PATH sh -ec "$script" sh "$@";;
esac
"""


@dataclasses.dataclass
class Host:
    """``volumes`` of Docker, each with a file that names whose data it has."""

    folder: Path
    settings: Settings

    def holds(self) -> dict[str, list[str]]:
        there = sorted((self.folder / "volumes").iterdir())
        return {one.name: sorted(os.listdir(one / "_data")) for one in there}

    def kept(self, kind: str = "before") -> str:
        return volumes.kept_path(self.settings, str(self.folder / "volumes"), kind, "2026-01-28")

    def live(self, **changes: object) -> None:
        (self.folder / "live").write_text(json.dumps(LIVE | changes))

    def runs(self) -> bool:
        return (self.folder / "runs").exists()


@pytest.fixture
def host(tmp_path: Path, monkeypatch) -> Host:
    made = Host(tmp_path, dataclasses.replace(BOXED, state_dir=str(tmp_path / "state")))
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for volume, file in (("crm_data", "live"), (INCOMING, "recovered")):
        (tmp_path / "volumes" / volume / "_data").mkdir(parents=True)
        (tmp_path / "volumes" / volume / "_data" / file).touch()
    (tmp_path / "volume").write_text('{"driver": "local", "options": null, "place": "@"}')
    (tmp_path / "users").write_text("crm-db-1\n")
    (tmp_path / "runs").touch()
    made.live()

    def ask(settings: Settings) -> tuple[Cluster, bool]:
        if not made.runs():
            raise DatabaseError("Failed to reach PostgreSQL", "start it")
        return PUSHED, True

    monkeypatch.setattr(at_rest, "ask", ask)
    monkeypatch.setattr(volumes, "_PATIENCE", 0)
    return made


def test_the_data_of_the_one_take_the_others_place_and_go_back(host):
    kept = host.kept()
    state.write(host.settings, SIDE, {**side(), "directory": INCOMING})
    promote.exchange(host.settings, INCOMING, kept, "a moment")
    assert host.runs()
    assert host.holds() == {"crm-db-1_before_2026-01-28": ["live"], "crm_data": ["recovered"]}
    assert not len(state.read(host.settings, SIDE))
    back = promote.settle(host.settings, kept, check=False)
    assert (back["incoming"], back["unit"]) == ("crm-db-1_before_2026-01-28", "")
    promote.exchange(host.settings, back["incoming"], back["kept"], back["as_of"])
    assert host.holds() == {
        volumes.name_of(back["kept"]): ["recovered"],
        "crm_data": ["live"],
    }
    told = promote.lines({**back, "label": "X"}, "seal", check=False)
    assert (
        f"until you remove that volume: docker volume rm {back['kept'].split('/')[-2]}" in told[2]
    )


@pytest.mark.parametrize("which", ["crm_data", INCOMING])
def test_what_cannot_be_renamed_stays_where_it_was_and_postgresql_runs(host, which):
    (host.folder / "programs").mkdir()
    program = host.folder / "programs" / "mv"
    program.write_text(
        f'#!/bin/sh\ncase $2 in */{which}/*) echo "$2: busy" >&2; exit 1;; esac\n'
        'exec /bin/mv "$@"\n'
    )
    program.chmod(0o755)
    with pytest.raises(PostgresBackupError, match=r": busy; PostgreSQL runs with its data as"):
        promote.exchange(host.settings, INCOMING, host.kept(), "a moment")
    assert host.runs()
    found = host.holds()
    assert (found["crm_data"], found[INCOMING]) == (["live"], ["recovered"])
    assert found["crm-db-1_before_2026-01-28"] == []


def test_data_that_postgresql_does_not_start_with_go_out_again(host):
    (host.folder / "volumes" / INCOMING / "_data" / "broken").touch()
    with pytest.raises(PostgresBackupError, match=r"Failed to exchange.*; PostgreSQL runs with "):
        promote.exchange(host.settings, INCOMING, host.kept(), "a moment")
    assert host.runs()
    assert host.holds() == {"crm_data": ["live"], INCOMING: ["broken", "recovered"]}


def test_one_that_does_not_answer_with_them_is_as_it_was(host, monkeypatch):
    ask = at_rest.ask

    def deaf(settings: Settings) -> tuple[Cluster, bool]:
        if (host.folder / "volumes/crm_data/_data/recovered").exists():
            raise DatabaseError("Failed to reach PostgreSQL", "start it")
        return ask(settings)

    monkeypatch.setattr(at_rest, "ask", deaf)
    state.write(host.settings, SIDE, {**side(), "directory": INCOMING})
    with pytest.raises(PostgresBackupError, match="it does not answer with them; PostgreSQL runs"):
        promote.exchange(host.settings, INCOMING, host.kept(), "a moment")
    assert host.runs()
    assert host.holds() == {"crm_data": ["live"], INCOMING: ["recovered"]}
    assert state.read(host.settings, SIDE)["directory"] == INCOMING


def test_what_has_a_disk_of_its_own_is_not_copied(host):
    (host.folder / "programs").mkdir()
    program = host.folder / "programs" / "stat"
    program.write_text("#!/bin/sh\ncase $3 in */crm_data/_data) echo 7;; *) echo 8;; esac\n")
    program.chmod(0o755)
    with pytest.raises(PostgresBackupError, match="crm_data/_data has a disk of its own"):
        promote.exchange(host.settings, INCOMING, host.kept(), "a moment")
    assert host.runs()
    assert host.holds()["crm_data"] == ["live"]


VOLUME = LIVE["mounts"][0]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"mounts": [{**VOLUME, "Type": "bind"}]}, "not in one volume of Docker's alone"),
        ({"mounts": []}, "not in one volume of Docker's alone"),
        (
            {"mounts": [VOLUME, {**VOLUME, "Name": "fast", "Destination": f"{DATA}/pg_wal"}]},
            "not in one volume of Docker's alone",
        ),
        ({"removed": True}, "is removed by Docker when it stops"),
    ],
)
def test_a_container_whose_data_lie_otherwise_is_refused(host, changes, why):
    host.live(**changes)
    for kept in ("", host.kept()):
        with pytest.raises(UsageError, match=why):
            promote.settle(host.settings, kept, check=True)
    with pytest.raises(UsageError, match=why):
        promote.exchange(host.settings, INCOMING, host.kept(), "a moment")
    assert host.runs()
    assert host.holds() == {"crm_data": ["live"], INCOMING: ["recovered"]}


@pytest.mark.parametrize(
    "told",
    [
        '{"driver": "local", "options": {"type": "nfs"}, "place": "@"}',
        '{"driver": "rexray", "options": null, "place": "@"}',
        '{"driver": "local", "options": {}, "place": "/srv/crm"}',
    ],
)
def test_a_volume_that_docker_has_elsewhere_is_refused(host, told):
    (host.folder / "volume").write_text(told)
    with pytest.raises(UsageError, match="crm_data is not on a disk of Docker's own"):
        promote.settle(host.settings, "", check=True)


def test_a_volume_that_another_uses_too_is_refused(host):
    (host.folder / "users").write_text("crm-db-1\ncrm-replica\n")
    with pytest.raises(UsageError, match="crm_data is in use by crm-replica too"):
        promote.settle(host.settings, "", check=True)


def test_only_what_a_promotion_has_kept_comes_back(host):
    wrong = [host.kept().replace("before", "other"), f"/x/{volumes.name_of(host.kept())}/_data"]
    for path in [*wrong, host.kept().replace("/_data", ""), "/var/lib/postgresql/17/main"]:
        with pytest.raises(UsageError, match="is no volume that a promotion has kept"):
            promote.settle(host.settings, path, check=False)
    with pytest.raises(PostgresBackupError, match="no such volume"):
        promote.settle(host.settings, host.kept(), check=False)
    with pytest.raises(UsageError, match="is none of its volumes"):
        promote.exchange(host.settings, INCOMING, "/etc/_data", "a moment")
