"""Whether what came out of a side database reads as what went into it."""

from __future__ import annotations

import dataclasses

import pytest

from postgres_backup.catalog.manifest import Manifest
from postgres_backup.restore.side_database import schema_differs
from postgres_backup.stream.inspector import Report

WENT_IN = Report({}, 0, "", "a" * 64, 1, "15.18", "15.18", "1")
KNOWN = Manifest(
    name="", database="", server={}, bytes=1, dump_bytes=1, rows=0, sha256="", tables={},
    schema_sha256="a" * 64,
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({}, False),
        ({"schema_sha256": "b" * 64}, True),
        # another minor version writes other options and settings, and the same objects
        ({"schema_sha256": "b" * 64, "program_version": "15.20"}, False),
        ({"schema_sha256": "b" * 64, "server_version": "15.20"}, False),
        ({"schema_sha256": "b" * 64, "program_version": "15.20", "objects": "2"}, True),
        # another major writes everything otherwise
        ({"schema_sha256": "b" * 64, "server_version": "16.1", "objects": "2"}, False),
    ],
)
def test_definitions_are_compared_by_what_they_mean(change, differs):
    assert schema_differs(KNOWN, WENT_IN, dataclasses.replace(WENT_IN, **change)) is differs


def test_rows_that_were_compared_before_are_not_in_what_is_compared():
    went_in = dataclasses.replace(WENT_IN, frame_sha256="f" * 64)
    came_out = dataclasses.replace(went_in, schema_sha256="c" * 64)
    assert not schema_differs(KNOWN, went_in, came_out)
    assert schema_differs(KNOWN, went_in, dataclasses.replace(came_out, frame_sha256="e" * 64))
    assert schema_differs(KNOWN, dataclasses.replace(went_in, schema_sha256="d" * 64), came_out)


def test_nothing_is_known_of_a_dump_without_a_manifest():
    assert not schema_differs(None, WENT_IN, dataclasses.replace(WENT_IN, schema_sha256="b"))
