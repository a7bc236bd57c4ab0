"""Whose backups a bucket holds, told by the manifests alone: for whoever has nothing left but the
bucket and its key.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypedDict

from ..errors import BadBackupError, PostgresBackupError
from ..s3.store import Store
from ..settings import Settings
from ..shapes.reader import MOST_BYTES
from .dated import is_ahead
from .manifest import parse
from .names import BackupName, Layout

_MANIFEST = re.compile(r"(?:[^/]+/)?manifests/[^/]+\.json")


class Owner(TypedDict):
    """A server and database with backups: how many, and the name of the newest; of those that a
    clock named that was ahead only where all are such.
    """

    server: str
    database: str
    backups: int
    newest: str


def owners(settings: Settings, store: Store) -> list[Owner]:
    """Every server and database that has backups under the prefix, those with the newest backup
    first.
    """
    root = Layout(settings.s3_prefix).root
    listed = {item.key: item.modified for item in store.list(root)}
    keys = [key for key in listed if _MANIFEST.fullmatch(key[len(root) :])]
    known: dict[tuple[str, str], Owner] = {}
    order: dict[tuple[str, str], tuple[bool, str]] = {}
    for key, whose in zip(keys, store.get_many(keys, _whose, MOST_BYTES), strict=True):
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


def _whose(key: str, data: bytes | PostgresBackupError | None) -> tuple[str, str, str] | None:
    """Server, database and name in a manifest; None where it cannot be told."""
    if not isinstance(data, bytes):
        return None
    try:
        manifest = parse(data, key)
    except BadBackupError:
        return None
    if BackupName.parse(manifest["name"]) is None or not manifest["server"].get("name"):
        return None
    return manifest["server"]["name"], manifest["database"], manifest["name"]


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
