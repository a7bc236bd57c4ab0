"""A lost server's archive: which of several, on which line of time, and what is said of its end."""

from __future__ import annotations

import contextlib
import dataclasses
from datetime import timedelta
from typing import ClassVar

import pytest

from postgres_backup.clock import format_timestamp
from postgres_backup.errors import PostgresBackupError, UsageError
from postgres_backup.pitr import (
    arrival,
    at_rest,
    lost,
    lost_archive,
    prepare,
    repository,
    volumes,
)
from postgres_backup.pitr.recover import Recovered
from postgres_backup.pitr.repository import Repository
from postgres_backup.pitr.route import Plan
from postgres_backup.s3.client import StoredObject
from tests.unit.pitr import test_repository
from tests.unit.pitr.test_boxed import BOXED
from tests.unit.pitr.test_texts import CLUSTER, SETTINGS

SUM = "0123456789" * 4
FULL = repository.read(test_repository.said(test_repository.FULL))


def piece(timeline: int, number: int) -> str:
    folder = f"{timeline:08X}00000000"
    return f"17-1/{folder}/{folder}{number:08X}-{SUM}.zst"


@pytest.mark.parametrize(
    ("times", "line"),
    [
        ({piece(1, 3): 10, piece(1, 4): 20}, 1),
        # gone back from the second line, which nobody writes any more
        ({piece(1, 9): 30, piece(2, 4): 20, "17-1/00000002.history": 40}, 1),
        ({piece(1, 4): 20, piece(2, 4): 20}, 2),
        ({"17-1/00000002.history": 40, "17-1": 0}, 0),
        ({}, 0),
    ],
)
def test_the_server_was_on_the_line_that_was_written_to_last(times, line):
    assert lost.line_of(times) == line


@pytest.mark.parametrize(
    ("there", "end"),
    [
        ([3, 4, 5], (5, "")),
        # two were on their way side by side as the power went
        ([3, 4, 6], (4, "000000010000000000000005")),
    ],
)
def test_what_lies_behind_a_missing_piece_is_not_waited_for(monkeypatch, there, end):
    monkeypatch.setattr(arrival, "archived", lambda *_: {1: set(there), 2: {9}})
    plan = Plan(CLUSTER, lost._LAST, FULL.newest, 1, True, 0)
    assert arrival.whole_until(SETTINGS, plan) == end


class Bucket:
    """What lies in the bucket: a folder for each cluster, and when it was written to."""

    written: ClassVar[dict[str, int]] = {}
    servers: tuple[str, ...] = ()

    def __init__(self, settings) -> None:
        pass

    def list(self, prefix, delimiter, folders):
        names = self.servers if prefix == "postgres-backup-pitr/" else self.written
        folders |= {f"{prefix}{name}/" for name in names}
        return iter(())

    def head(self, key):
        identifier = key.split("/")[2]
        at = test_repository.NOW.replace(minute=self.written[identifier])
        return StoredObject(key, 1, at)


OLD, NEW = "7412345678901234567", "7500000000000000000"


@pytest.fixture
def bucket(monkeypatch) -> type[Bucket]:
    """One that can be read, of PostgreSQL 17; what is laid on the machine goes nowhere."""
    there = type("There", (Bucket,), {"written": {OLD: 1, NEW: 2, "lost+found": 3}})
    monkeypatch.setattr(lost_archive, "Store", there)
    monkeypatch.setattr(lost_archive.engine, "version", lambda settings: (2, 55, 1))
    monkeypatch.setattr(prepare, "config_text", lambda _, archive, *rest: archive)
    monkeypatch.setattr(lost_archive, "_read", lambda *_: dataclasses.replace(FULL, major=17))
    monkeypatch.setattr(at_rest, "_listed", list)
    there.laid = {}
    monkeypatch.setattr(
        lost_archive.own_files, "write", lambda path, text, mode: there.laid.update({path: text})
    )
    return there


def test_of_several_archives_the_one_that_was_written_to_last_is_taken(bucket):
    found = lost_archive.find(SETTINGS, "k" * 40)
    assert (found["system_identifier"], found["major"], found["older"]) == (NEW, 17, 1)
    assert "1 of clusters before it are passed over" in lost_archive.lines(found)[0]
    assert set(bucket.laid.values()) == {"k" * 40 + "\n", found["archive"]}


def test_a_moment_needs_a_backup_before_it_and_is_one_of_the_past(bucket, monkeypatch):
    monkeypatch.setattr(repository, "log_times", lambda *_: {piece(1, 3): 10})
    monkeypatch.setattr(repository, "look", lambda *_: FULL)
    newest = FULL.newest
    after, before = newest.ended + timedelta(minutes=1), newest.began - timedelta(minutes=1)
    found = lost_archive.find(SETTINGS, "k", format_timestamp(after))
    assert found["label"] == newest.label
    with pytest.raises(UsageError, match="lies before the first backup of the cluster"):
        lost_archive.find(SETTINGS, "k", format_timestamp(before))
    bucket.laid.clear()
    for wrong, why in (("2999-01-01T00:00:00Z", "in the future"), ("2026-01-27", "no zone")):
        with pytest.raises(UsageError, match=why):
            lost_archive.find(SETTINGS, "k", wrong)
    assert not bucket.laid


@pytest.mark.parametrize(("target_time", "taken"), [("", True), ("2026-11-22T10:00:00Z", False)])
def test_what_an_earlier_attempt_has_brought_is_taken_if_it_is_of_the_moment_that_is_asked_for(
    monkeypatch, target_time, taken
):
    """Another is removed; that the next step is asked then is enough here."""
    side = {"target": "the last that was archived", "ready": True}
    did = []
    monkeypatch.setattr(at_rest, "ask", lambda *_: (CLUSTER, True))
    monkeypatch.setattr(lost.state, "read", lambda *_: side)
    monkeypatch.setattr(lost.recover, "kept", lambda *_, check: did.append("kept"))
    monkeypatch.setattr(lost.recover, "remove", lambda *_, check: did.append("removed"))

    def require_movable(cluster):
        raise UsageError("far enough", "")

    monkeypatch.setattr(lost.promote, "require_movable", require_movable)
    with contextlib.nullcontext() if taken else pytest.raises(UsageError, match="far enough"):
        lost.bring(SETTINGS, None, "another", lost.wanted(target_time))
    assert did == ["kept" if taken else "removed"]


@pytest.mark.parametrize(
    ("full", "refused"),
    [
        ([], "far enough"),
        ([{"database": "crm", "table": "public.users"}], "has tables: crm: public.users"),
    ],
)
def test_one_in_a_container_comes_beside_an_empty_one_whose_data_can_be_exchanged(
    monkeypatch, full, refused
):
    """What nobody remembers of an earlier attempt goes first; that a way is asked for then is
    enough here.
    """
    did = []
    monkeypatch.setattr(at_rest, "ask", lambda *_: (CLUSTER, True))
    monkeypatch.setattr(lost.state, "read", lambda *_: {})
    monkeypatch.setattr(lost.side_container, "left_over", lambda *_: ["crm-db-1_recovered_x"])
    monkeypatch.setattr(lost.recover, "remove", lambda *_, check: did.append("removed"))
    monkeypatch.setattr(lost.volumes, "find", lambda _, directory: did.append(directory))
    monkeypatch.setattr(lost.counts, "beside", lambda *_: full)

    def choose(*_):
        raise UsageError("far enough", "")

    monkeypatch.setattr(lost, "choose", choose)
    with pytest.raises(UsageError, match=refused):
        lost.bring(BOXED, None, "another", lost.wanted(""))
    assert did == ["removed", CLUSTER.data_directory]
    narrow = dataclasses.replace(CLUSTER, is_superuser=False)
    monkeypatch.setattr(at_rest, "ask", lambda *_: (narrow, True))
    with pytest.raises(UsageError, match="it is no superuser"):
        lost.bring(BOXED, None, "another", lost.wanted(""))


INSIDE = dataclasses.replace(FULL, major=17, system_identifier="7500000000000000000")


@pytest.fixture
def asked(monkeypatch) -> dict[str, str]:
    """A container of the service, of PostgreSQL 17, by whose config the archive can be read; what
    was asked of it.
    """
    answers = {"sh": "/var/lib/postgresql/data\n", "postgres": "postgres (PostgreSQL) 17.6 (x)\n"}
    monkeypatch.setattr(lost_archive.engine, "version", lambda inside: (2, 55, 1))
    monkeypatch.setattr(
        lost_archive.boxed, "printed", lambda inside, _, first, *rest: answers[first]
    )
    live = {"mounts": [{"Type": "volume", "Name": "crm_data", "Destination": "/var/lib"}]}
    monkeypatch.setattr(lost_archive.docker, "ask", lambda inside: live)
    monkeypatch.setattr(volumes, "_folder", lambda *_: "/var/lib/docker/volumes")
    monkeypatch.setattr(repository, "look", lambda inside: INSIDE)
    return answers


def test_of_a_container_that_does_not_run_yet_another_of_its_service_is_asked(asked, monkeypatch):
    names = set()

    def look(inside):
        names.add(inside.db_container)
        return INSIDE

    monkeypatch.setattr(repository, "look", look)
    found = lost_archive.find(BOXED, "", container="crm-db-1-archive")
    assert names == {"crm-db-1-archive"}
    assert (found["system_identifier"], found["major"]) == (INSIDE.system_identifier, 17)
    assert "the container's own config names" in lost_archive.lines(found)[0]


@pytest.mark.parametrize(
    ("there", "answer", "mount", "why"),
    [
        (Repository(1, "missing stanza path", ()), {}, "volume", "conf of crm-db-1: missing stan"),
        (Repository(2, "no valid backups", ()), {}, "volume", "holds no backup of a cluster"),
        (
            INSIDE,
            {"postgres": "postgres (PostgreSQL) 18.1"},
            "volume",
            "has PostgreSQL 18, and",
        ),
        (INSIDE, {"postgres": "sh"}, "volume", r"has PostgreSQL \?, and the archive is of .* 17:"),
        (INSIDE, {}, "bind", "the data of crm-db-1 are not in one volume of Docker's alone"),
    ],
)
def test_what_cannot_be_recovered_into_the_container_is_refused(
    asked, monkeypatch, there, answer, mount, why
):
    asked.update(answer)
    live = {"mounts": [{"Type": mount, "Name": "crm_data", "Destination": "/var/lib/postgresql"}]}
    monkeypatch.setattr(lost_archive.docker, "ask", lambda inside: live)
    monkeypatch.setattr(repository, "look", lambda inside: there)
    with pytest.raises(UsageError, match=why):
        lost_archive.find(BOXED, "", container="crm-db-1-archive")


def test_an_image_that_does_not_say_where_its_data_lie_is_looked_at_later(asked, monkeypatch):
    asked["sh"] = "\n"
    monkeypatch.setattr(lost_archive.docker, "ask", None)
    assert lost_archive.find(BOXED, "")["label"] == FULL.newest.label
    monkeypatch.setattr(repository, "log_times", lambda *_: {piece(1, 3): 10})
    before = format_timestamp(FULL.newest.began - timedelta(minutes=1))
    with pytest.raises(UsageError, match="lies before the first backup of the cluster"):
        lost_archive.find(BOXED, "", before)


def test_one_that_never_had_a_backup_is_passed_over(bucket, monkeypatch):
    def read(settings, text):
        return Repository(2, "empty", ()) if NEW in text else dataclasses.replace(FULL, major=17)

    monkeypatch.setattr(lost_archive, "_read", read)
    assert lost_archive.find(SETTINGS, "k" * 40)["system_identifier"] == OLD
    monkeypatch.setattr(lost_archive, "_read", lambda *_: Repository(2, "empty", ()))
    with pytest.raises(UsageError, match="holds no backup of a cluster"):
        lost_archive.find(SETTINGS, "k" * 40)


@pytest.mark.parametrize(
    ("change", "key", "why"),
    [
        ({"written": {}, "servers": ("db2", "db3")}, "k", "there are: db2, db3"),
        ({"written": {}}, "k", "there are: none"),
        ({}, "", "backup_pitr_cipher_key is not set"),
    ],
)
def test_what_is_not_there_is_said_and_nothing_is_laid(bucket, change, key, why):
    for name, value in change.items():
        setattr(bucket, name, value)
    with pytest.raises(UsageError, match=why):
        lost_archive.find(SETTINGS, key)
    assert not bucket.laid


@pytest.mark.parametrize(
    ("port", "major", "refused"), [(5432, 15, True), (5432, 17, False), (5433, 15, False)]
)
def test_a_cluster_of_another_major_in_its_place_is_refused(
    bucket, monkeypatch, port, major, refused
):
    there = at_rest._Listed(major, "main", port, "online", "/var/lib/postgresql/x/main")
    monkeypatch.setattr(at_rest, "_listed", lambda: [there])
    if not refused:
        assert lost_archive.find(SETTINGS, "k")["major"] == 17
        return
    with pytest.raises(UsageError, match="PostgreSQL 15 is installed here at port 5432"):
        lost_archive.find(SETTINGS, "k")
    assert not bucket.laid


def test_an_archive_of_another_key_is_one_that_cannot_be_read(monkeypatch, tmp_path):
    monkeypatch.setattr(lost_archive.places, "CONFIG", str(tmp_path / "engine.conf"))
    broken = Repository(99, "unable to load info file", ())
    monkeypatch.setattr(repository, "look", lambda *_: broken)
    with pytest.raises(PostgresBackupError, match="cannot be read by backup_pitr_cipher_key: unab"):
        lost_archive._read(SETTINGS, "text")
    assert not list(tmp_path.iterdir())


def test_the_end_says_which_transaction_is_the_last_and_what_may_be_lost():
    result: Recovered = {
        "changed": True,
        "target": "the last that was archived",
        "label": "20261122-100000F",
        "directory": "/x",
        "host": "/run",
        "port": 5500,
        "last_commit": "2026-11-22T10:00:03.5Z",
        "next_commit": "",
        "lsn": "0/5000000",
        "bytes": 30,
        "seconds": 4.0,
        "live": False,
        "kept": True,
        "tables": [],
        "findings": [{"code": "PITR_GAP", "message": "one is missing"}],
    }
    told = lost.lines(SETTINGS, result)
    assert told[1] == "Its last transaction: 2026-11-22T10:00:03.5Z, at 0/5000000 of the log"
    assert "at most the 60 s in which a piece" in told[2]
    assert told[-1] == "one is missing"
    moment = {"target": "2026-11-22T10:00:05Z", "next_commit": "2026-11-22T10:00:06Z"}
    told = lost.lines(SETTINGS, {**result, **moment})
    assert told[0].startswith("The cluster is there as of 2026-11-22T10:00:05Z: from ")
    assert told[1].endswith("; the next, of 2026-11-22T10:00:06Z, is not in it")
    assert "lost with the server" not in " ".join(told)
    assert "since an earlier attempt" in lost.lines(SETTINGS, {**result, "label": ""})[0]
