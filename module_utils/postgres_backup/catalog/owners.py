"""Whose backups a bucket holds, told by the manifests alone: for whoever has nothing left but the
bucket and its key.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Sequence
from typing import TypedDict

from ..errors import BadBackupError
from ..s3.errors import Refused
from ..s3.store import Store
from ..settings import Settings
from .dated import is_ahead
from .listed_once import Listings
from .manifest import Described
from .names import BackupName, Layout, shared_prefix
from .reading import Manifests
from .signed import Believed

#: of the prefix, of a server's or a database's folder, of a database's in a server's
_MANIFEST = re.compile(r"(?:[^/]+/){0,2}manifests/[^/]+\.json")


class Owner(TypedDict):
    """A server and database with backups: how many, and the name of the newest; of those that a
    clock named that was ahead only where all are such.
    """

    server: str
    database: str
    backups: int
    newest: str


def owners(settings: Settings, store: Store, listings: Listings | None = None) -> list[Owner]:
    """Every server and database that has backups under the prefix, those with the newest backup
    first.

    :param listings: of the look that asks; what is listed and read here it need not ask for again.
    """
    root = Layout(settings.s3_prefix).root
    listings = listings or Listings(store)
    listed = {item.key: item.modified for item in listings.below(root)}
    keys = [key for key in listed if _MANIFEST.fullmatch(key[len(root) :])]
    reading = Manifests(store, listings.summaries, Believed.by(settings))
    found = reading.found(keys, listed.keys())
    known: dict[tuple[str, str], Owner] = {}
    order: dict[tuple[str, str], tuple[bool, str]] = {}
    for key in keys:
        whose = _whose(found[key].manifest)
        if whose is None:
            continue
        server, database, name = whose
        owner = known.setdefault(
            (server, database),
            {"server": server, "database": database, "backups": 0, "newest": name},
        )
        owner["backups"] += 1
        parsed = BackupName.parse(name)
        place = (not (parsed and is_ahead(parsed.taken_at, listed[key])), name)
        order[server, database] = max(order.get((server, database), place), place)
        owner["newest"] = order[server, database][1]
    return sorted(known.values(), key=lambda owner: owner["newest"], reverse=True)


def owners_near(settings: Settings, store: Store, listings: Listings) -> list[Owner]:
    """For whoever finds nothing under his own name: :func:`owners` under the prefix, and where that
    is a new server's own folder, in which nothing is yet, under that of all servers, as far as the
    key may see it.
    """
    found = owners(settings, store, listings)
    of_all = shared_prefix(settings.s3_prefix, settings.server_name)
    if found or of_all == settings.s3_prefix.strip("/"):
        return found
    with contextlib.suppress(Refused):
        return owners(dataclasses.replace(settings, s3_prefix=of_all), store, listings)
    return []


def _whose(manifest: Described | BadBackupError | None) -> tuple[str, str, str] | None:
    """Server, database and name in a manifest; None where it cannot be told."""
    if manifest is None or isinstance(manifest, BadBackupError):
        return None
    server = manifest["server"].get("name")
    if BackupName.parse(manifest["name"]) is None or not server:
        return None
    return server, manifest["database"], manifest["name"]


def advice(known: Sequence[Owner]) -> str:
    """What to set, as a hint of an error; empty where the bucket holds no backups."""
    if not known:
        return ""
    told = "; ".join(
        f"server {owner['server']}, database {owner['database']}: "
        f"{owner['backups']}, the newest {owner['newest']}"
        for owner in known[:5]
    )
    first = known[0]
    return (
        f"Backups there are of {told}. If one is meant, set backup_server_name: {first['server']} "
        f"and backup_db_name: {first['database']} (in a config file: SERVER_NAME, DB_NAME)"
    )
