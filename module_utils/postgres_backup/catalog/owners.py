"""Whose backups a bucket holds, told by the manifests alone: for whoever has nothing left but the
bucket and its key.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

from ..errors import BadBackupError
from ..s3.store import Store
from ..settings import Settings
from . import manifest
from .names import BackupName, Layout

_MANIFEST = re.compile(r"(?:[^/]+/)?manifests/[^/]+\.json")


def owners(settings: Settings, store: Store) -> list[dict]:
    """Every server and database that has backups under the prefix, those with the newest backup
    first.

    :return: each ``server``, ``database``, ``backups`` (how many) and ``newest`` (its name).
    """
    root = Layout(settings.s3_prefix).root
    keys = [item.key for item in store.list(root) if _MANIFEST.fullmatch(item.key[len(root) :])]
    found: dict[tuple[str, str], dict] = {}
    with ThreadPoolExecutor(8) as pool:
        for about in pool.map(lambda key: _read(store, key), keys):
            if about is None:
                continue
            server, database, name = about
            one = found.setdefault(
                (server, database),
                {"server": server, "database": database, "backups": 0, "newest": name},
            )
            one["backups"] += 1
            one["newest"] = max(one["newest"], name)
    return sorted(found.values(), key=lambda one: one["newest"], reverse=True)


def _read(store: Store, key: str) -> tuple[str, str, str] | None:
    """Server, database and name in a manifest; None where it cannot be told."""
    try:
        about = manifest.parse(store.get(key) or b"", key)
    except BadBackupError:
        return None
    if BackupName.parse(about["name"]) is None or not about["server"].get("name"):
        return None
    return about["server"]["name"], about["database"], about["name"]


def advice(found: list[dict]) -> str:
    """What to set, as a hint of an error; empty where the bucket holds no backups."""
    if not found:
        return ""
    known = "; ".join(
        f"server {one['server']}, database {one['database']}: {one['backups']}, the newest {one['newest']}"
        for one in found[:5]
    )
    first = found[0]
    return (
        f"Backups there are of {known}. If one is meant, set backup_server_name: {first['server']} and backup_db_name: {first['database']}"
        f" (in a config file: SERVER_NAME, DB_NAME)"
    )
