"""A cloned machine, a copied inventory: two real servers write under one name, and each stays with
its own.
"""

from __future__ import annotations

import dataclasses
import types
from datetime import timedelta

import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.backup.prune import prune_backups
from postgres_backup.clock import utc_now
from postgres_backup.health import alarms, listing, status
from postgres_backup.job import Job
from postgres_backup.machine.progress import Progress
from postgres_backup.nightly.adopt import adopt_backups
from postgres_backup.nightly.watch import look_around
from postgres_backup.restore.database import restore_database
from tests.conftest import _databases
from tests.integration import engine


def forge_of(side: Side, s3_client, bucket: str, days: int) -> str:
    """A backup that it took so many days ago."""
    return engine.forge(
        s3_client,
        bucket,
        utc_now().replace(microsecond=0) - timedelta(days=days),
        database="shop",
        change={"server": {"name": "test-server", "system_identifier": side.identifier}},
    )


def identifier(server) -> str:
    [(found,)] = server.execute("SELECT system_identifier::text FROM pg_control_system()")
    return found


@dataclasses.dataclass
class Side:
    """One of the two: its server, its config, and what it has backed up."""

    server: object
    config: object
    identifier: str

    def backup(self, rows: int) -> str:
        self.server.execute(
            f"DROP TABLE IF EXISTS t; CREATE TABLE t AS SELECT generate_series(1, {rows}) AS x",
            "shop",
        )
        return create_backup(self.job())["backup"]

    def job(self, check: bool = False) -> Job:
        return Job(self.config.settings, check=check)

    def restore(self, backup: str, check: bool = False) -> dict:
        return restore_database(self.job(check), backup)

    def status(self) -> tuple[list[str], dict]:
        """The codes of its findings, and how the database is."""
        found = status.status(self.config.settings)
        return [f["code"] for f in found["findings"]], found["databases"]["shop"]

    @property
    def rows(self) -> int:
        return self.server.execute("SELECT count(*) FROM t", "shop")[0][0]


@pytest.fixture
def sides(postgres_server, new_config, s3, bucket):
    """A and B, with the same names and the same bucket."""
    made = []
    for major in (15, 16):
        server = postgres_server(major)
        before = _databases(server)
        server.execute("CREATE DATABASE shop")
        database = types.SimpleNamespace(
            name="shop", owner=server.superuser, password=server.password, server=server
        )
        config = new_config(database, s3, bucket)
        made.append((Side(server, config, identifier(server)), before))
    yield [side for side, _ in made]
    for side, databases in made:
        for name in _databases(side.server) - databases:
            side.server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def test_each_restores_and_prunes_its_own_and_both_are_told(sides, s3_client, bucket):
    b, a = sides  # the newer PostgreSQL is to restore what the older one has dumped
    taken = [a.backup(10), b.backup(77), a.backup(11), b.backup(78)]

    listed = {line["backup"]: line for line in listing.look(a.config.settings)["backups"]}
    assert [listed[name]["state"] for name in taken] == ["good", "foreign", "good", "foreign"]
    assert b.identifier in listed[taken[1]]["reason"]

    done = engine.run(a.config.path, "status", "--json")
    assert done.returncode == 4
    found = engine.answer(done)
    assert found["databases"]["shop"]["kept"] == 2
    assert found["databases"]["shop"]["last"]["backup"] == taken[2]
    [told] = [f["message"] for f in found["findings"] if f["code"] == "TWO_SERVERS"]
    for word in (a.identifier, b.identifier, taken[3], "backup_server_name", "adopt --database"):
        assert word in told
    assert not look_around(b.config.settings, Progress())["healthy"]
    [alarm] = alarms.open_alarms(b.config.settings)
    assert (alarm["code"], a.identifier in alarm["message"]) == ("TWO_SERVERS", True)

    # latest is the own newest, on both sides
    assert a.restore("latest")["backup"] == taken[2]
    assert (a.rows, b.restore("latest")["backup"], b.rows) == (11, taken[3], 78)

    # the other's is restored by its name, and the plan says whose it is
    plan = a.restore(taken[1], check=True)
    [whose] = [f["message"] for f in plan["findings"] if f["code"] == "FOREIGN_BACKUP"]
    assert b.identifier in whose

    # prune neither counts nor deletes what is the other's
    a.config.change(RETENTION_DAYS=1)
    old = [
        forge_of(who, s3_client, bucket, day) for day, who in ((20, a), (21, a), (22, b), (23, b))
    ]
    pruned = prune_backups(Job(a.config.settings), allow_many=True)
    assert [line["backup"] for line in pruned["deleted"]] == old[:2]
    assert {line["backup"] for line in pruned["kept"]} == {*taken, *old[2:]}


def test_a_successor_takes_over_without_an_alarm_and_adopt_says_who_is_one(
    sides, s3_client, bucket
):
    a, b = sides
    first = a.backup(10)
    # a new server without a backup of its own: what there is, as a rebuild wants it
    assert b.restore("latest")["backup"] == first
    assert b.rows == 10
    second = b.backup(20)
    codes, shop = b.status()
    assert (codes, shop["kept"], shop["last"]["backup"]) == ([], 2, second)
    # it may be a clone: for a day the predecessor's backups stay, whatever their age
    old = forge_of(a, s3_client, bucket, 30)
    assert prune_backups(b.job(), allow_many=True)["deleted"] == []
    reasons = {
        line["backup"]: line["reason"] for line in listing.look(b.config.settings)["backups"]
    }
    assert "may yet be alive" in reasons[old]
    third = a.backup(30)  # it is alive after all
    assert b.status()[0] == ["TWO_SERVERS"]
    engine.failed_well(
        engine.run(b.config.path, "adopt", "--server", "1"), 2, "No other server 1", a.identifier
    )
    planned = adopt_backups(b.job(check=True), server=a.identifier)
    assert b.status()[0] == ["TWO_SERVERS"]
    adopted = adopt_backups(b.job(), server=a.identifier)
    assert planned["adopted"] == adopted["adopted"] == [third, first, old]
    codes, shop = b.status()
    assert (codes, shop["kept"], shop["last"]["backup"]) == ([], 4, third)
    assert b.restore("latest", check=True)["backup"] == third
    a.backup(31)  # and again: adopted was what there was
    assert b.status()[0] == ["TWO_SERVERS"]
