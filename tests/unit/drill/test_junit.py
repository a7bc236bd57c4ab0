"""The checks as other programs read them."""

from __future__ import annotations

import os
from xml.etree import ElementTree

import pytest

from postgres_backup.drill import junit
from postgres_backup.errors import UsageError

CHECKS = [
    {"check": "rows", "outcome": "passed", "says": []},
    {"check": "content", "outcome": "failed", "says": ["DATA_DIFFERS: <x> & \x00\udc80 é"]},
    {"check": "size", "outcome": "warning", "says": ["SIZE_DROPPED: less"]},
    {"check": "schema", "outcome": "unchecked", "says": []},
]


def suite(failing=("failed",)) -> ElementTree.Element:
    return ElementTree.fromstring(junit.text_of("db1.crm.x", CHECKS, failing, 1.25))


def test_a_case_for_each_and_none_that_was_not_made_passes():
    root = suite()
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("4", "1", "1")
    kinds = {case.get("name"): [child.tag for child in case] for case in root}
    assert kinds == {
        "rows": [],
        "content": ["failure"],
        "size": ["system-out"],
        "schema": ["error"],
    }
    assert "<x> & \ufffd\ufffd é" in root.find("testcase/failure").text


def test_what_fails_is_what_was_asked_for():
    root = suite(("failed", "warning"))
    assert root.get("failures") == "2"


def test_what_cannot_be_written_is_said_before(tmp_path):
    for path in (tmp_path, tmp_path / "none" / "x.xml"):
        with pytest.raises(UsageError, match="cannot be written"):
            junit.require_writable(str(path))
    junit.require_writable(str(tmp_path / "x.xml"))


def test_it_is_written_whole(tmp_path):
    path = tmp_path / "x.xml"
    path.write_text("old")
    junit.write(str(path), b"new")
    assert os.listdir(tmp_path) == ["x.xml"]
    assert path.read_bytes() == b"new"
    with pytest.raises(UsageError, match="Failed to write"):
        junit.write(str(tmp_path / "none" / "x.xml"), b"new")
