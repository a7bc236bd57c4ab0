"""Members of a kit become files: all or none, and never outside of the folder, whatever lies in
it.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postgres_backup.catalog.kit_paths import Paths, parts_of
from postgres_backup.errors import PostgresBackupError, UsageError
from postgres_backup.restore.kit_files import Staged
from postgres_backup.restore.kit_folders import Look
from postgres_backup.restore.kit_members import Judge, Refused
from postgres_backup.stream.archive import Archive, ArchiveError
from tests import hostile_kits
from tests.hostile_kits import DIR, HARD, LINK, kit_of
from tests.properties import examples

REFUSALS = (Refused, ArchiveError, UsageError)


def look(data: bytes, to: Path, named: list[str]) -> Judge:
    paths = Paths([parts_of(path) or () for path in named])
    judge = Judge(paths)
    with contextlib.closing(Look(str(to), paths)) as looking:
        for member in Archive([data], 1 << 24):
            looking.at(judge.look(member))
        looking.require_room()
    return judge


def put(data: bytes, to: Path, named: list[str], sources: set[int]) -> None:
    paths = Paths([parts_of(path) or () for path in named])
    archive, judge = Archive([data], 1 << 24), Judge(paths)
    with Staged(str(to), paths, sources) as staged:
        for member in archive:
            staged.add(judge.look(member), archive.content())
        staged.commit()


def back(data: bytes, to: Path, *named: str) -> None:
    put(data, to, list(named), look(data, to, list(named)).sources)


def tree(folder: Path) -> dict[str, tuple]:
    """Every name below: kind, mode, and content or target."""
    found: dict[str, tuple] = {}
    for above, folders, files in os.walk(folder):
        for name in folders + files:
            path = Path(above, name)
            mode = path.lstat().st_mode
            what = os.readlink(path) if stat.S_ISLNK(mode) else b""
            if stat.S_ISREG(mode):
                what = path.read_bytes()
            found[str(path.relative_to(folder))] = (stat.filemode(mode), what)
    return found


def test_files_links_and_folders_with_modes_and_times(tmp_path):
    data = kit_of(
        ("srv/app", DIR, 0o2770),
        ("srv/app/a",),
        ("srv/app/h", HARD, "srv/app/a"),
        ("srv/app/locked", DIR, 0o500),
        ("srv/app/locked/l", LINK, "../a"),
        ("srv/app/locked/abs", LINK, "/srv/app/a"),
        ("srv/app/out", LINK, "/etc/passwd"),
    )
    back(data, tmp_path / "new/deep", "/srv/app")
    found = tree(tmp_path / "new/deep")
    assert found == {
        "srv": ("drwxr-xr-x", b""),
        "srv/app": ("drwxrws---", b""),
        "srv/app/a": ("-rw-r--r--", b""),
        "srv/app/h": ("-rw-r--r--", b""),
        "srv/app/locked": ("dr-x------", b""),
        "srv/app/locked/l": ("lrwxrwxrwx", "../a"),
        "srv/app/locked/abs": ("lrwxrwxrwx", "../../../srv/app/a"),
    }
    assert os.stat(tmp_path / "new/deep/srv/app/locked/abs").st_mtime == 0
    assert os.stat(tmp_path / "new/deep/srv/app").st_mtime == 0
    again = tree(tmp_path / "new/deep")
    back(data, tmp_path / "new/deep", "/srv/app")
    assert tree(tmp_path / "new/deep") == again


def test_a_file_that_is_there_is_replaced_and_not_written_into(tmp_path):
    (tmp_path / "srv/app").mkdir(parents=True)
    (tmp_path / "outside").write_text("canary")
    (tmp_path / "srv/app/a").symlink_to(tmp_path / "outside")
    os.link(tmp_path / "outside", tmp_path / "srv/app/b")
    back(kit_of(("srv/app/a",), ("srv/app/b",)), tmp_path, "/srv/app")
    assert (tmp_path / "outside").read_text() == "canary"
    assert [(tmp_path / "srv/app" / name).read_bytes() for name in "ab"] == [b"", b""]
    assert not (tmp_path / "srv/app/a").is_symlink()


@pytest.mark.parametrize("where", ["srv", "srv/app", "srv/app/up"])
def test_a_link_that_is_there_leads_nobody_out(tmp_path, where):
    """Seen by the look, and, where it is put there after that, by the write."""
    to, outside = tmp_path / "to", tmp_path / "outside"
    (outside / "app/up").mkdir(parents=True)
    (to / where).parent.mkdir(parents=True)
    data = kit_of(("srv/app/first",), ("srv/app/up/a",))
    sources = look(data, to, ["/srv/app"]).sources
    (to / where).symlink_to(outside)
    before = tree(tmp_path)
    for work in (
        lambda: look(data, to, ["/srv/app"]),
        lambda: put(data, to, ["/srv/app"], sources),
    ):
        with pytest.raises(UsageError, match=f"{to}/{where} is not a folder, and a folder in"):
            work()
        assert tree(tmp_path) == before


def test_what_is_in_the_way_is_named_before_anything_is_written(tmp_path):
    (tmp_path / "srv/app/a").mkdir(parents=True)
    (tmp_path / "srv/app/d").write_text("x")
    for member, said in {
        ("srv/app/a",): "srv/app/a is a folder, and a file in the kit",
        ("srv/app/a", LINK, "b"): "srv/app/a is a folder, and a link in the kit",
        ("srv/app/d", DIR): "srv/app/d is not a folder, and a folder in the kit",
        ("srv/app/d/e",): "srv/app/d is not a folder, and a folder in the kit",
    }.items():
        with pytest.raises(UsageError, match=said) as refused:
            look(kit_of(member), tmp_path, ["/srv/app"])
        assert refused.value.hint.startswith(f"Move it away: mv {tmp_path}/srv/app/")
    with pytest.raises(UsageError, match="is not a folder"):
        look(kit_of(("srv/app/a",)), tmp_path / "srv/app/d", ["/srv/app"])


def test_a_disk_without_room_is_told_before_anything_is_written(tmp_path, monkeypatch):
    room = os.statvfs_result((4096, 4096, 10, 10, 2, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "fstatvfs", lambda descriptor: room)
    look(kit_of(("srv/app/a",), ("srv/app/b",)), tmp_path, ["/srv/app"])
    with pytest.raises(PostgresBackupError, match=r"need 12\.3 kB, and the disk has 8\.2"):
        look(kit_of(("srv/app/a",), ("srv/app/b",), ("srv/app/c",)), tmp_path / "new", ["/srv/app"])


def test_a_kit_that_turns_out_bad_on_the_way_leaves_nothing(tmp_path):
    (tmp_path / "srv/app").mkdir(parents=True)
    (tmp_path / "srv/app/a").write_text("old")
    before = tree(tmp_path)
    good = kit_of(("srv/app/a",), ("srv/app/new/deep/b",), ("srv/app/l", LINK, "a"))
    for data in (good[:-10_000], kit_of(("srv/app/a",), ("srv/app/n/b",), ("etc/c",))):
        with pytest.raises((ArchiveError, Refused)):
            put(data, tmp_path, ["/srv/app"], set())
        assert tree(tmp_path) == before
    with pytest.raises(ArchiveError):
        put(good[:-10_000], tmp_path / "fresh/to", ["/srv/app"], set())
    assert tree(tmp_path) == before


@pytest.fixture(scope="module")
def ground():
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@settings(max_examples=examples(20), deadline=None)
@given(seed=st.integers(0, 2**62))
def test_hostile_archives_change_nothing_outside_and_all_or_nothing_inside(ground, seed):
    """Into a folder in which links to the outside lie already; what ``--check`` says is what
    happens.
    """
    chance = random.Random(seed)
    for _ in range(3):
        shutil.rmtree(ground / "all", ignore_errors=True)
        to, outside = ground / "all/to", ground / "all/canary"
        outside.mkdir(parents=True)
        (outside / "a").write_text("canary")
        to.mkdir()
        for _ in range(chance.randint(0, 3)):
            place = to / chance.choice(("srv", "srv/app", "srv/app/a", "srv/up", "srv/app/up/b"))
            with contextlib.suppress(OSError):
                place.parent.mkdir(parents=True, exist_ok=True)
                what = chance.randrange(4)
                if what < 2:
                    place.symlink_to(outside / ("" if what else "a"))
                elif what == 2:
                    place.mkdir()
                else:
                    place.write_text("old")
        named = chance.choice(hostile_kits.PATHS)
        data = hostile_kits.pack(hostile_kits.members(chance, named), chance)
        before, canary = tree(to), tree(outside)
        sources, refused = set(), False
        try:
            sources = look(data, to, named).sources
        except REFUSALS:
            refused = True
        assert tree(to) == before
        if refused:
            with pytest.raises(REFUSALS):
                put(data, to, named, sources)
            assert tree(to) == before
        else:
            put(data, to, named, sources)
            require_inside(to, before)
        assert tree(outside) == canary


def require_inside(to: Path, before: dict[str, tuple]) -> None:
    """What was put there is neither set-uid nor leads out; nothing of our own is left."""
    for name, (mode, what) in tree(to).items():
        assert ".postgres-backup-kit." not in name
        if before.get(name) == (mode, what):
            continue
        assert "s" not in mode[3] + mode[9]
        if mode[0] == "l":
            end = os.path.normpath((to / name).parent / str(what))
            assert end == str(to) or end.startswith(f"{to}/")
