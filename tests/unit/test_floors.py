"""The house keeps its floors: data flows one way, and a room knows only what is below it."""

import ast
import importlib
from pathlib import Path

import pytest

import postgres_backup

PACKAGE = Path(postgres_backup.__file__).parent
ROOMS = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.glob("*.py") if path.stem != "__init__"}
ORDER = [room for rooms in postgres_backup.FLOORS.values() for room in rooms]


def imported(tree: ast.Module) -> set[str]:
    """The rooms that a room imports, wherever in its file."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            found |= {node.module} if node.module else {alias.name for alias in node.names}
    return found & set(ROOMS)


def test_every_room_is_on_a_floor_and_on_one_only():
    assert sorted(ORDER) == sorted(ROOMS)


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_finds_what_it_imports(room):
    importlib.import_module(f"postgres_backup.{room}")


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_imports_only_from_below(room):
    above = {other for other in imported(ROOMS[room]) if ORDER.index(other) <= ORDER.index(room)}
    assert not above, f"{room} imports {sorted(above)} from its own place or above"


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_no_room_knows_ansible_or_imports_absolutely_from_the_package(room):
    absolute = {node.module for node in ast.walk(ROOMS[room]) if isinstance(node, ast.ImportFrom) and not node.level}
    absolute |= {alias.name for node in ast.walk(ROOMS[room]) if isinstance(node, ast.Import) for alias in node.names}
    assert not {name for name in absolute if name and name.split(".")[0] in ("ansible", "postgres_backup")}
