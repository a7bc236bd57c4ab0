"""The house keeps its floors: data flows one way, and a folder knows only what is below it."""

import ast
import functools
import importlib
from pathlib import Path

import postgres_backup
from tests import sources

PACKAGE = Path(postgres_backup.__file__).parent
#: ``machine/signals`` and the like
ROOMS = {
    path.relative_to(PACKAGE).with_suffix("").as_posix()
    for path in PACKAGE.rglob("*.py")
    if path.stem != "__init__"
}
#: a room is no test of its own: of hundreds, pytest's part is the larger one
pytestmark = sources.GROUP
LEVEL = {
    folder: number for number, folders in enumerate(postgres_backup.FLOORS) for folder in folders
}


@functools.cache
def imports(room: str) -> list[ast.Import | ast.ImportFrom]:
    """What a room imports, wherever in its file."""
    return imports_of(sources.tree(PACKAGE / f"{room}.py"))


def imports_of(tree: ast.AST) -> list[ast.Import | ast.ImportFrom]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


def imported(room: str, found_there: list[ast.Import | ast.ImportFrom]) -> set[str]:
    """The rooms among what a room imports."""
    found: set[str] = set()
    for node in found_there:
        if isinstance(node, ast.ImportFrom) and node.level:
            place = room.split("/")[: -node.level] + (node.module or "").split(".")
            base = "/".join(filter(None, place))
            found |= (
                {base}
                if base in ROOMS
                else {f"{base}/{alias.name}".lstrip("/") for alias in node.names}
            )
    return found & ROOMS


def folder_of(room: str) -> str:
    return room.split("/")[0]


def rises(room: str, other: str) -> bool:
    """Whether an import leads to the same floor of another folder, or up."""
    here, there = folder_of(room), folder_of(other)
    return here != there and LEVEL[there] <= LEVEL[here]


def test_every_folder_is_on_a_floor_and_on_one_only():
    named = [folder for folders in postgres_backup.FLOORS for folder in folders]
    assert sorted(named) == sorted({folder_of(room) for room in ROOMS})


def test_a_folder_is_flat_and_has_an_empty_face():
    """A face that imports is paid for by cron every quarter of an hour and by every module's
    payload.
    """
    faces = [path for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE]
    assert sorted(path.parent.name for path in faces) == sorted(
        {folder_of(room) for room in ROOMS if "/" in room}
    )
    assert not [path for path in faces if path.parent.parent != PACKAGE]
    assert not [path for path in faces if path.read_text(encoding="utf-8").strip()]


def test_a_room_finds_what_it_imports():
    for room in sorted(ROOMS):
        importlib.import_module("postgres_backup." + room.replace("/", "."))


def test_a_room_imports_only_from_below():
    above = {
        room: sorted(other for other in imported(room, imports(room)) if rises(room, other))
        for room in sorted(ROOMS)
    }
    rising = {room: others for room, others in above.items() if others}
    assert not rising, "these import from their own floor or above"


def test_no_room_knows_ansible_or_imports_absolutely_from_the_package():
    assert not {room: names for room in sorted(ROOMS) if (names := absolute(imports(room)))}


def absolute(found_there: list[ast.Import | ast.ImportFrom]) -> list[str]:
    """What is imported by its whole name of Ansible or of the package itself."""
    names = [
        node.module
        for node in found_there
        if isinstance(node, ast.ImportFrom) and not node.level and node.module
    ]
    names += [
        alias.name for node in found_there if isinstance(node, ast.Import) for alias in node.names
    ]
    return [name for name in names if name.split(".")[0] in ("ansible", "postgres_backup")]


def test_what_rises_is_seen():
    """The test of the floors itself can fail."""
    text = "from ..nightly.run import run_night\nfrom . import bucket\nfrom .. import settings"
    there = imports_of(ast.parse(text))
    assert imported("s3/store", there) == {"nightly/run", "s3/bucket", "settings"}
    assert rises("s3/store", "nightly/run")
    assert rises("s3/store", "stream/codec")
    assert not rises("s3/store", "s3/bucket")
    assert not rises("s3/store", "settings")
    there = imports_of(
        ast.parse("import os, ansible.module_utils\nfrom postgres_backup.s3 import store")
    )
    assert absolute(there) == ["postgres_backup.s3", "ansible.module_utils"]
