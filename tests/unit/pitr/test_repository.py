"""What the engine says of its backups is looked at before it is believed."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest

from postgres_backup.errors import StoreError
from postgres_backup.pitr import repository, take

NOW = datetime(2026, 11, 29, 12, tzinfo=timezone.utc)


def backup(label: str, kind: str, ended: datetime, **more: object) -> dict[str, object]:
    return {
        "label": label,
        "type": kind,
        "timestamp": {"start": int(ended.timestamp()) - 60, "stop": int(ended.timestamp())},
        "lsn": {"start": "0/3000028", "stop": "0/3000100"},
        "archive": {"start": "000000010000000000000003", "stop": "000000010000000000000003"},
        "info": {"size": 30, "delta": 30, "repository": {"size": 9, "delta": 4}},
        "error": False,
        **more,
    }


def said(*backups: dict[str, object], code: int = 0) -> bytes:
    status = {"code": code, "message": "as it is", "lock": {"backup": {"held": False}}}
    return json.dumps([{"name": "main", "status": status, "backup": list(backups)}]).encode()


FULL = backup("20261122-100000F", "full", NOW - timedelta(days=7))
INCR = backup("20261122-100000F_20261128-100000I", "incr", NOW - timedelta(days=1))


def test_the_newest_backups_are_found():
    found = repository.read(said(INCR, FULL))
    assert found.newest.label == INCR["label"]
    assert found.newest_full.label == FULL["label"]
    assert (found.newest.bytes, found.newest.stored_bytes) == (30, 4)


def test_whose_archive_it_is_is_told_by_what_wrote_last():
    made = [{"version": "15"}, {"version": "17", "system-id": 7500000000000000000}]
    [known] = json.loads(said(FULL))
    found = repository.read(json.dumps([{**known, "db": made}]).encode())
    assert (found.major, found.system_identifier) == (17, "7500000000000000000")
    assert repository.read(said(FULL)).system_identifier == ""


def test_one_that_has_bad_pages_does_not_count():
    bad = backup("20261129-100000F", "full", NOW, error=True)
    assert repository.read(said(FULL, bad)).newest.label == FULL["label"]


def test_no_archive_at_all_is_said():
    assert repository.read(b"[]").code in repository.MISSING


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b'["a"]',
        said(backup("../../etc", "full", NOW)),
        said(backup("20261129-100000F", "whole", NOW)),
        said(backup("20261129-100000F", "full", NOW, lsn={"start": "x", "stop": "y"})),
    ],
)
def test_what_is_of_no_such_shape_is_refused_in_a_sentence(data):
    with pytest.raises(StoreError, match="Failed to read what is in the archive"):
        repository.read(data)


@pytest.mark.parametrize(("days", "due"), [(6, False), (6.6, True), (8, True)])
def test_a_full_one_is_due_each_week(days, due):
    full = backup("20261122-100000F", "full", NOW - timedelta(days=days))
    assert take.is_full_due(repository.read(said(full)), NOW) is due
    assert take.is_full_due(repository.read(said()), NOW)


def test_what_is_archived_is_read_with_its_size():
    there = {
        ".": {"type": "path"},
        "17-1/0000000100000000/000000010000000000000003-ab.zst": {"type": "file", "size": 40},
    }
    assert sum(repository.read_log(json.dumps(there).encode()).values()) == 40
    assert repository.read_log(b"") == {}


@pytest.mark.parametrize(
    "data", [b"[", b'{"x": {"size": -1}}', b'{"x": 3}', b'{"x": {"size": "1"}}']
)
def test_a_list_that_lies_is_one_sentence(data):
    with pytest.raises(StoreError, match="Failed to read what is in the archive"):
        repository.read_log(data)


@pytest.mark.parametrize(("versions", "major"), [(["17"], 17), (["15", "16"], 16), ([], 0)])
def test_the_postgresql_that_wrote_last_is_known(versions, major):
    [found] = json.loads(said(FULL))
    found["db"] = [{"id": n, "repo-key": 1, "version": one} for n, one in enumerate(versions, 1)]
    assert repository.read(json.dumps([found]).encode()).major == major


def test_an_error_of_several_lines_is_read_as_one():
    told = said(code=99).replace(b"as it is", b"[CryptoError] raised\nHINT: is it encrypted?")
    found = repository.read(told)
    assert (found.code, found.message) == (99, "[CryptoError] raised HINT: is it encrypted?")
