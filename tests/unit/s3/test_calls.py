"""Every call to the store is one of those that are declared, and does what it is declared to do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from postgres_backup.errors import StoreError
from postgres_backup.findings import CODES
from postgres_backup.s3 import calls
from postgres_backup.s3.calls import CALLS, Part
from postgres_backup.s3.errors import CallFailed, may_fail
from tests import sources

PACKAGE = Path(__file__).resolve().parents[3] / "module_utils/postgres_backup"
#: what is done with a client that asks nothing of the store
ASKS_NOTHING = {"generate_presigned_url", "meta"}
#: the rooms on a backup's path: what they ask of the store says so itself
PATH = ("backup/database.py", "backup/kit.py", "catalog/journal.py", "catalog/signed.py")
#: methods of ``Store`` -> where their call stands, and the requests that it makes
METHODS = {
    "put": (0, {"PutObject"}),
    "head": (1, {"HeadObject", "GetObject"}),
    "list": (4, {"ListObjectsV2"}),
    "delete": (1, {"DeleteObject"}),
}


def named(node: ast.AST) -> str:
    """``calls.X`` -> ``X``; anything else: empty."""
    plain = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    return node.attr if plain and node.value.id == "calls" else ""


def requests_of(node: ast.AST) -> set[str]:
    """The operations that a client is asked for in there."""
    return {
        "".join(word.capitalize() for word in found.func.attr.split("_"))
        for found in ast.walk(node)
        if isinstance(found, ast.Call)
        and isinstance(found.func, ast.Attribute)
        and isinstance(found.func.value, ast.Name)
        and found.func.value.id == "client"
    }


def s3_calls() -> Iterator[ast.Call]:
    for path in PACKAGE.glob("s3/*.py"):
        for node in ast.walk(sources.tree(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".call"):
                yield node


def test_what_is_asked_is_what_was_declared():
    direct = [(named(node.args[0]), requests_of(node)) for node in s3_calls()]
    assert len(direct) > 15
    for name, requests in direct:
        if name:
            assert requests <= set(CALLS[name].requests), name


def test_nothing_is_asked_in_another_way():
    """A client is used only where it was handed to what ``S3.call`` was given."""
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        used = set(re.findall(r"(?:\.client|stranger)\.(\w+)", text))
        assert used <= ASKS_NOTHING | {"py"}, path


def test_each_is_used_and_complete():
    text = "".join(
        path.read_text(encoding="utf-8")
        for path in PACKAGE.rglob("*.py")
        if path.name != "calls.py"
    )
    for name, call in CALLS.items():
        assert f"calls.{name}" in text, f"nobody asks for {name}"
        assert call.purpose
        assert call.requests
        assert call.refused
        assert not call.finding or call.finding in CODES
        assert call.finding or call.part is not Part.HOUSEKEEPING, name


@pytest.mark.parametrize("room", PATH)
def test_a_backup_says_of_each_call_what_it_is(room):
    for node in ast.walk(sources.tree(PACKAGE / room)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        of = ast.unparse(node.func.value)
        if of.rpartition(".")[2] != "store" or node.func.attr not in METHODS:
            continue
        place, requests = METHODS[node.func.attr]
        given = {word.arg: word.value for word in node.keywords}
        call = given.get("call") or (node.args[place] if place < len(node.args) else None)
        assert call is not None, f"{room}:{node.lineno} does not say what it is"
        if name := named(call):
            assert requests & set(CALLS[name].requests), f"{room}:{node.lineno}"


def failing(call):
    def fail():
        raise CallFailed(call, "Failed to do it", "Try again")

    return fail


def test_housekeeping_ends_nothing():
    findings = []
    with may_fail(findings):
        failing(calls.SWEEP)()
    assert findings == [
        {"code": "UPLOADS_NOT_SWEPT", "message": "Failed to do it. Try again"},
    ]


@pytest.mark.parametrize("call", [calls.SEND, calls.DESCRIBE, calls.LIST])
def test_what_is_the_backup_or_an_answer_does(call):
    findings = []
    with pytest.raises(CallFailed), may_fail(findings):
        failing(call)()
    assert findings == []


def test_what_others_ask_too_is_housekeeping_where_that_is_said():
    findings = []
    with may_fail(findings, calls.OTHER_KITS):
        failing(calls.LIST)()
    with may_fail(findings, calls.OTHER_KITS):
        raise StoreError("there are too many")
    assert [found["code"] for found in findings] == ["KITS_NOT_SEEN"] * 2
    with pytest.raises(CallFailed), may_fail(findings, calls.OTHER_KITS):
        failing(calls.SEND)()
