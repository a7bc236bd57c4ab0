"""Several things that stand in the way of a restore are told at once."""

from __future__ import annotations

import pytest

from postgres_backup.errors import DatabaseError, UsageError
from postgres_backup.findings import finding
from postgres_backup.restore.objections import Objections


def test_none_is_no_error():
    with Objections() as objections:
        pass
    objections.raise_all("X")


def test_one_is_told_as_it_is():
    objections = Objections()
    refused = DatabaseError("no right", "grant it")
    with objections:
        raise refused
    with pytest.raises(DatabaseError) as caught:
        objections.raise_all("X")
    assert caught.value is refused


def test_several_are_numbered_and_so_are_their_ways_out():
    objections = Objections()
    with objections.called("RESTORE_NEEDS_RIGHTS"):
        raise DatabaseError("no right", "grant it")
    objections.add("DISK_SHORT", "no room", "", "2 bytes needed, 1 free")
    with pytest.raises(DatabaseError) as caught:
        objections.raise_all("X")
    error = caught.value
    assert error.message == "2 things stand in the way of X: 1. no right; 2. no room"
    assert error.hint == "1. grant it; 2. (see above)"
    assert error.findings == [
        finding("RESTORE_NEEDS_RIGHTS", "no right"),
        finding("DISK_SHORT", "2 bytes needed, 1 free"),
    ]


def test_a_finding_that_an_error_has_is_left_to_it():
    objections = Objections()
    with objections.called("ROLE_ABSENT"):
        raise DatabaseError("no roles", "", [finding("OBJECT_ALTERED", "altered")])
    assert [found["code"] for found in objections.errors[0].findings] == ["OBJECT_ALTERED"]


def test_what_is_not_the_servers_is_not_gathered():
    with pytest.raises(UsageError), Objections():
        raise UsageError("no key")
