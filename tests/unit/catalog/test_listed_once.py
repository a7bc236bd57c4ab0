"""One listing of all that lies under a prefix is enough for a look at the whole fleet."""

from __future__ import annotations

import dataclasses
import random
from datetime import timedelta
from pathlib import Path

from postgres_backup.catalog.backups import Catalog
from postgres_backup.catalog.listed_once import Listings
from postgres_backup.catalog.owners import owners
from tests.unit.listed import Listed
from tests.unit.signed_bucket import NOW, Bucket, new_bucket

SERVERS, NIGHTS = 12, 4


class Counting(Listed):
    """:ivar listed: the prefixes that were listed."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        super().__init__(objects)
        self.listed: list[str] = []

    def list(self, prefix: str, *more: object, **options: object):
        self.listed.append(prefix)
        return super().list(prefix, *more, **options)  # type: ignore[arg-type]


def test_what_lies_within_is_what_a_listing_of_it_alone_would_show():
    chance = random.Random(21)
    for _ in range(50):
        parts = ["a", "b", "manifests", "a b"]
        keys = {
            "/".join(chance.choices(parts, k=chance.randrange(1, 5))) + chance.choice(["", ".json"])
            for _ in range(30)
        }
        store = Counting(dict.fromkeys(keys, b"x"))
        for top in ("", "a/"):
            one = Listings(store)  # type: ignore[arg-type]
            one.below(top)
            store.listed.clear()
            for folder in ("a/", "a/b/", "a/manifests/", "a/none/", *([""] if not top else [])):
                alone = Listings(store)  # type: ignore[arg-type]
                store.listed.clear()
                within = list(one.folder(folder).objects), list(one.below(folder))
                assert store.listed == []
                shown = list(alone.folder(folder).objects), list(alone.below(folder))
                assert within == shown
                assert one.folder(folder).folders == alone.folder(folder).folders


def fleet(folder: Path) -> Bucket:
    made = new_bucket(folder)
    for server in range(SERVERS):
        for night in range(NIGHTS):
            at = NOW - timedelta(days=night, minutes=server)
            made.take(at, server={"name": f"db{server}"}, database=f"app{server % 5}")
    return made


def test_the_bucket_alone_is_listed_once_and_each_manifest_read_once(tmp_path):
    """Whose backups there are, and then those of each database."""
    bucket = fleet(tmp_path)
    store = Counting(bucket.store.objects)
    store.settings = settings = dataclasses.replace(bucket.settings, server_name="", databases=())
    listings = Listings(store)  # type: ignore[arg-type]
    known = owners(settings, store, listings)  # type: ignore[arg-type]
    assert len(known) == SERVERS
    assert {owner["backups"] for owner in known} == {NIGHTS}
    databases = tuple(dict.fromkeys(owner["database"] for owner in known))
    named = dataclasses.replace(settings, databases=databases)
    for database in databases:
        catalog = Catalog(named, store, database, listings=listings)  # type: ignore[arg-type]
        assert len(catalog.backups()) == SERVERS * NIGHTS
    assert store.listed == ["postgres-backup/"]
    manifests = [key for key in store.read if key.endswith(".json")]
    assert (len(manifests), len(store.read)) == (SERVERS * NIGHTS, 2 * SERVERS * NIGHTS)
