"""Whatever a listing holds, each reader of it answers with what is ours or with one sentence, and
nothing is ever to be deleted that the listing does not name; seeds are fixed, and `make fuzz` looks
at 120,000 listings.
"""

from __future__ import annotations

import dataclasses
import json
import random
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings as profile

from postgres_backup.catalog.backups import Catalog
from postgres_backup.catalog.history import happened
from postgres_backup.catalog.kits import findings_of, list_kits
from postgres_backup.catalog.owners import owners
from postgres_backup.catalog.retention import Policy, plan
from postgres_backup.clock import utc_now
from postgres_backup.machine.identity import Mark
from postgres_backup.settings import Settings
from tests import hostile
from tests.properties import SHORT
from tests.unit.listed import Listed

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[3]
BUCKET = ROOT / "tests/fixtures/version_0_1_0/bucket"
MANIFEST = json.loads(min(BUCKET.glob("postgres-backup/manifests/*.json")).read_bytes())
DAY = utc_now().replace(hour=0, minute=0, second=0)
#: what names are made of: times, whole parts, and what no name of ours holds
TIMES = [
    *(f"{DAY - timedelta(days=days):%Y-%m-%d_%H-%M-%S}" for days in (0, 1, 20, 400)),
    "2026-02-31_00-00-00",
    "0000-00-00_00-00-00",
    "0999-01-01_00-00-00",
    "9999-12-31_23-59-59",
    "٢٠٢٦-01-01_00-00-00",  # digits, but none of ours
    "2026-01-01_24-60-61",
    "",
]
SUFFIXES = [
    ".sql.gz",
    ".sql.gz.age",
    ".sql.zst",
    ".sql",
    ".dump",
    ".json",
    ".tar.gz",
    ".tar.gz.age",
]
ODD = [
    "",
    "/",
    "//",
    "..",
    "../",
    "\0",
    "\n",
    "\x1b[2J",
    "%2F",
    "\ud800",
    "é" * 300,
    "*",
    ".sig",
    "~",
]
FOLDERS = [
    "",
    *("manifests/", "globals/", "partial/", "journal/", "kit/", "proofs/"),
    *("manifests/adopted/", "manifests/emptied/", "school/", "school/manifests/", "../"),
]
HEADS = ["postgres-backup-", "postgres-backup-kit-", ""]
TAILS = ["", "", "-backup", "-prune-school-db", "-1-2-3", "-0123456789abcdef"]


@pytest.fixture
def settings(tmp_path) -> list[Settings]:
    """Of one database and of two, and of a bucket of their own."""
    one = dataclasses.replace(hostile.SETTINGS, state_dir=str(tmp_path))
    two = dataclasses.replace(one, databases=("school", "globals"))
    return [one, one, two, dataclasses.replace(one, s3_prefix="")]


def name(chance: random.Random) -> str:
    """A name of ours, or one that nearly is."""
    parts = [
        chance.choice(FOLDERS),
        chance.choice(HEADS),
        chance.choice(TIMES),
        chance.choice(TAILS),
        chance.choice(SUFFIXES),
    ]
    for _ in range(chance.choice((0, 0, 0, 1, 2))):
        parts.insert(chance.randrange(len(parts) + 1), chance.choice(ODD))
    return "".join(parts)


def body(key: str, chance: random.Random) -> bytes:
    """What fits a key, most often, and else what does not."""
    if chance.random() < 0.2:
        return chance.choice((b"", b"{", b"[]", b"null", b'{"schema": 9}', b"\xff"))
    facts: dict[str, object] = {"bytes": chance.choice((0, 7, 7))}
    if "journal/" in key:
        facts |= {"at": "2026-11-28T08:00:00Z", "event": "backup", "database": "school"}
        facts |= {"server": chance.choice(("school-db", "b"))}
    elif "kit/" in key:
        facts |= {"sha256": "0" * 64, "server": {"name": chance.choice(("school-db", "b"))}}
    else:
        facts |= {"name": key.rpartition("/")[2]}
        facts = MANIFEST | facts | {"server": {"name": "school-db"}, "database": "school"}
    return json.dumps(facts).encode()


def pair(chance: random.Random) -> dict[str, bytes]:
    """A backup or a kit of ours with its manifest, one of which may be missing."""
    stem = chance.choice(HEADS[:2]) + chance.choice(TIMES)
    kit = "-kit-" in stem
    last = stem + chance.choice(SUFFIXES[-2:] if kit else SUFFIXES[:5])
    folder = "postgres-backup/kit/" if kit else chance.choice(("postgres-backup/", ""))
    below = folder if kit else f"{folder}manifests/"
    described = body(f"{below}{last}", chance)
    objects = {f"{folder}{last}": b"1234567", f"{below}{stem}.json": described}
    if chance.random() < 0.1:
        del objects[chance.choice(list(objects))]
    return objects


def look_at(settings: Settings, objects: dict[str, bytes]) -> tuple[int, int]:
    """All that reads a listing, one after the other; how many backups and kits it took for ours."""
    store = Listed(objects)
    catalog = Catalog(settings, store, "school", Mark())  # type: ignore[arg-type]  # see Listed
    there = catalog.backups()
    assert {backup.key for backup in there} <= objects.keys()
    for backup in there:
        assert json.dumps(backup.describe(utc_now()))
    for decision in plan(there, Policy(days=7), utc_now()):
        assert decision.keep or decision.backup.ours
    assert set(catalog.leftovers()) & objects.keys() <= {
        key for key in objects if "/manifests/" in f"/{key}" or "/globals/" in f"/{key}"
    }
    kits = list_kits(settings, store)  # type: ignore[arg-type]  # see Listed
    assert {kit.key for kit in kits} <= objects.keys()
    assert len(findings_of(kits)) <= 1
    for kit_decision in plan(kits, Policy(days=7), utc_now()):
        assert kit_decision.keep or kit_decision.backup.ours
    assert owners(settings, store) is not None  # type: ignore[arg-type]  # see Listed
    since = utc_now() - timedelta(days=30)
    assert happened(settings, store, since)["events"] is not None  # type: ignore[arg-type]  # so too
    return sum(backup.ours for backup in there), sum(kit.ours for kit in kits)


@pytest.mark.hypothesis  # part of make fuzz
def test_a_listing_may_hold_anything(settings):
    chance = random.Random(13)
    backups = kits = 0
    for _ in range(300 if profile().max_examples == SHORT else 120_000):
        objects = {}
        for _ in range(chance.randrange(1, 6)):
            key = f"postgres-backup/{name(chance)}"
            objects[key] = body(key, chance) if key.endswith(".json") else b"1234567"
        for _ in range(chance.randrange(3)):
            objects |= pair(chance)
        found = look_at(chance.choice(settings), dict(sorted(objects.items())))
        backups, kits = backups + found[0], kits + found[1]
    assert backups > 10  # what is ours is among them
    assert kits > 3
