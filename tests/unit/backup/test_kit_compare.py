"""A kit that fell short of the one before: emptied folders, less than half."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from postgres_backup.backup.kit_compare import Counts, compare, yardstick
from postgres_backup.backup.kit_files import Entry
from postgres_backup.catalog.kits import Kit

NOW = datetime(2026, 1, 27, tzinfo=timezone.utc)
APP, UPLOADS = "/srv/app", "/srv/app/data/uploads"


def counts(**folders: tuple[int, int]) -> Counts:
    """An application with ``.env`` (20 bytes), and so many files of so many bytes in folders."""
    made = Counts()
    made.add(Entry(APP, 0, True, APP))
    made.add(Entry(f"{APP}/.env", 20, False, APP))
    for name, (files, size) in folders.items():
        path = f"{APP}/{name.replace('_', '/')}"
        made.add(Entry(path, 0, True, APP))
        for number in range(files):
            made.add(Entry(f"{path}/{number}", size, False, APP))
    return made


def kit(before: Counts, days: float = 1, short: bool = False, paths: tuple = (APP,)) -> Kit:
    taken_at = NOW - timedelta(days=days)
    manifest = {
        "server": {"name": "db1"},
        "bytes": 5,
        "sha256": "",
        "paths": list(paths),
        "files": before.files,
        "file_bytes": before.file_bytes,
        "folders": before.remembered(paths),
        "fell_short": short,
    }
    return Kit(f"kit-{days}", "key", 5, taken_at, manifest, True)


def test_the_counts_of_folders_are_of_all_that_is_in_them():
    made = counts(data_uploads=(50, 100_000), cache=(3, 10))
    assert (made.files, made.file_bytes) == (57, 5_000_050)
    assert made.remembered([APP]) == {
        APP: {"files": 54, "bytes": 5_000_050},
        f"{APP}/data": {"files": 50, "bytes": 5_000_000},
        UPLOADS: {"files": 50, "bytes": 5_000_000},
    }


def test_a_volume_that_is_not_mounted_is_told_with_the_kit_that_has_it():
    before = counts(data_uploads=(50, 100_000), data_other=(60, 100_000))
    now = counts(data_uploads=(0, 0), data_other=(60, 100_000))
    assert compare(kit(before), now, [APP]) == [
        {
            "code": "KIT_EMPTIED",
            "message": f"Held something in kit-1, and nothing now: {UPLOADS} (50 files, 5.0 MB)",
        }
    ]
    assert compare(kit(now), before, [APP]) == []


@pytest.mark.parametrize(
    ("before", "now", "codes"),
    [
        ((50, 100), (25, 100), []),
        ((50, 100), (23, 100), ["KIT_SHRUNK"]),
        ((50, 100), (50, 40), ["KIT_SHRUNK"]),
        ((50, 100), (0, 0), ["KIT_EMPTIED", "KIT_SHRUNK"]),
        ((9, 100), (0, 0), ["KIT_SHRUNK"]),
    ],
)
def test_less_than_half(before, now, codes):
    found = compare(kit(counts(cache=before)), counts(cache=now), [APP])
    assert [one["code"] for one in found] == codes


def test_a_named_file_or_folder_that_holds_nothing_any_more():
    full, empty = Counts(), Counts()
    full.add(Entry("/srv/.env", 20, False, "/srv/.env"))
    empty.add(Entry("/srv/.env", 0, False, "/srv/.env"))
    found = compare(kit(full, paths=("/srv/.env",)), empty, ["/srv/.env"])
    assert [one["code"] for one in found] == ["KIT_EMPTIED", "KIT_SHRUNK"]


def test_what_is_no_longer_named_is_not_missed():
    both = counts(cache=(50, 100))
    both.add(Entry("/srv/video", 10**6, False, "/srv/video"))
    assert compare(kit(both, paths=(APP, "/srv/video")), counts(cache=(50, 100)), [APP]) == []
    old = kit(both)
    del old.manifest["folders"]  # 0.1.0
    old.manifest["paths"].append("/srv/video")
    assert compare(old, counts(), [APP]) == []
    old.manifest["paths"].remove("/srv/video")
    assert [one["code"] for one in compare(old, counts(), [APP])] == ["KIT_SHRUNK"]


def test_one_that_fell_short_is_no_yardstick_for_a_week():
    full, short = counts(cache=(50, 100)), counts()
    kits = [kit(short, days, short=True) for days in (1, 2, 3)] + [kit(full, 4), kit(full, 5)]
    assert yardstick(kits, NOW).name == "kit-4"
    kits = [kit(short, days, short=True) for days in (1, 2)] + [kit(full, 7)]
    assert yardstick(kits, NOW).name == "kit-1"
    assert yardstick([kit(full, -1)], NOW) is None
    assert yardstick([], NOW) is None
