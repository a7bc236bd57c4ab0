"""What people have said of backups: small objects under ``manifests/`` whose keys say all, so that
a listing is enough to know it.

``manifests/adopted/<time>-<theirs>-<ours>-<whose>.json``: what the server ``theirs`` took until
then belongs to the server ``ours``. ``manifests/emptied/<time>-<what>.json``: that a table has no
rows any more is meant. Both hold a hash of server and database, since several may share a prefix.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Annotated, TypedDict

from ..clock import format_time, format_timestamp, parse_time
from ..errors import PostgresBackupError
from ..s3 import calls
from ..s3.store import Store
from ..shapes.kinds import Text
from ..shapes.reader import Unfit, fitted, load
from ..signing.judge import TRUSTED
from . import signed
from .names import Layout
from .signed import Believed

#: stands for the database as a whole among its tables
WHOLE = "*"
_KEY = re.compile(
    r"(?P<kind>adopted|emptied)/(?P<time>\d{4}-\d{2}-\d{2}_\d{2}-\d{2}-\d{2})-(?P<rest>[\w-]+)\.json"
)


#: bytes of such an object at most
_MOST_BYTES = 16 * 1024


class _Facts(TypedDict):
    """What an object itself says: whose word it is, and its own key below the layout's root."""

    server: Annotated[str, Text(1000)]
    key: Annotated[str, Text(1000)]


@dataclasses.dataclass(frozen=True)
class Adoption:
    """Backups that ``theirs`` took until ``at`` belong to ``ours``."""

    at: datetime
    theirs: str
    ours: str


@dataclasses.dataclass(frozen=True)
class Said:
    """All that was said.

    :param emptied: hashes of tables, see :func:`hash_of`, each with when it was said.
    """

    adopted: tuple[Adoption, ...] = ()
    emptied: tuple[tuple[datetime, str], ...] = ()

    def meant(self, taken_at: datetime) -> frozenset[str]:
        """The hashes of the tables whose rows in a backup of that time are gone on purpose."""
        return frozenset(what for at, what in self.emptied if at >= taken_at)


def hash_of(server: str, database: str, table: str = "") -> str:
    """A table, or a database, in letters that a key may hold."""
    return hashlib.sha256("\0".join((server, database, table)).encode()).hexdigest()[:16]


def is_said(root: str, key: str) -> bool:
    """Whether a key below a layout's root is such an object."""
    folders = (f"{root}manifests/adopted/", f"{root}manifests/emptied/")
    return key.startswith(folders) and not key.endswith(signed.SUFFIX)


def read(keys: Iterable[str], root: str, server: str, database: str) -> Said:
    """What the keys below a layout's root say of a server's database."""
    scope = hash_of(server, database)
    adopted, emptied = [], []
    for key in sorted(keys):
        match = _KEY.fullmatch(key.removeprefix(f"{root}manifests/"))
        if not match:
            continue
        try:
            at = parse_time(match["time"])
        except ValueError:
            continue
        words = match["rest"].split("-")
        if match["kind"] == "emptied" and len(words) == 1:
            emptied.append((at, words[0]))
        elif match["kind"] == "adopted" and len(words) == 3 and words[2] == scope:
            adopted.append(Adoption(at, words[0], words[1]))
    return Said(tuple(adopted), tuple(emptied))


def vouched(
    store: Store, root: str, keys: Collection[str], listed: Collection[str], believed: Believed
) -> set[str]:
    """Those of these keys that stand as this server, or one that it believes, has signed them.

    A server without a key of its own believes all.
    """
    if not keys or not believed.signers.own:
        return set(keys)
    signatures = signed.signatures(store, keys, listed)

    def stands(key: str, data: bytes | PostgresBackupError | None) -> tuple[str, bool]:
        if not isinstance(data, bytes):
            return key, False
        try:
            facts = fitted(load(data, _MOST_BYTES), _Facts)
        except Unfit:
            return key, False
        standing = believed.judge(data, signatures.get(key), facts["server"])
        return key, standing.kind == TRUSTED and root + facts["key"] == key

    return {key for key, good in store.get_many(signatures, stands, _MOST_BYTES) if good}


def both(one: Said, other: Said) -> Said:
    """What was said in two places."""
    return Said(one.adopted + other.adopted, one.emptied + other.emptied)


def write_adoption(store: Store, layout: Layout, database: str, said: Adoption) -> str:
    """Say that what ``theirs`` took belongs to ``ours``; the key.

    :raises StoreError: it could not be written.
    """
    server = store.settings.server_name
    words = (format_time(said.at), said.theirs, said.ours, hash_of(server, database))
    key = f"{layout.root}manifests/adopted/{'-'.join(words)}.json"
    facts = {"server": server, "database": database, "theirs": said.theirs, "ours": said.ours}
    _put(store, layout, key, said.at, facts)
    return key


def write_emptied(
    store: Store, layout: Layout, database: str, tables: Sequence[str], at: datetime
) -> list[str]:
    """Say that tables (:data:`WHOLE`: the database) have no rows on purpose; the keys.

    :raises StoreError: one could not be written.
    """
    server, keys = store.settings.server_name, []
    for table in tables:
        what = hash_of(server, database, table)
        keys.append(f"{layout.root}manifests/emptied/{format_time(at)}-{what}.json")
        facts = {"server": server, "database": database, "table": table}
        _put(store, layout, keys[-1], at, facts)
    return keys


def _put(store: Store, layout: Layout, key: str, at: datetime, facts: dict[str, str]) -> None:
    # its own place: what is signed must not say something else under another key
    place = key.removeprefix(layout.root)
    body = json.dumps({"at": format_timestamp(at), "key": place, **facts}, ensure_ascii=False)
    signed.put(store, calls.PROOF, key, body.encode())
