"""Every object of this server under a prefix: what goes along when it moves into its own folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Annotated, TypedDict

from ..backup import old_events
from ..catalog import gaps, kits, partials, said, signed
from ..catalog.backup import Backup
from ..catalog.backups import Catalog
from ..catalog.listed_once import Listings
from ..catalog.names import Layout
from ..errors import PostgresBackupError
from ..job import Job
from ..machine import identity
from ..s3.client import StoredObject
from ..settings import Settings
from ..shapes.kinds import Text
from ..shapes.reader import MOST_BYTES, Unfit, fitted, load

#: what lies beside backups and is theirs; the page is the inventory's, and is published anew
_BESIDE = ("manifests/", "globals/", "proofs/", "partial/", "journal/")


class _Whose(TypedDict):
    server: Annotated[str, Text(1000)]


@dataclasses.dataclass(frozen=True)
class Own:
    """What was found.

    :param objects: of this server, in the order in which they are copied: what describes another
        comes after it, and each after its signature.
    :param manifests: of whole backups, their keys by database.
    :param unclaimed: backups of which nothing says whose they are; they stay.
    :param listed: all that lies where it could, whoever's it is.
    """

    objects: Sequence[StoredObject]
    manifests: Mapping[str, Sequence[str]]
    unclaimed: int
    listed: Mapping[str, StoredObject]


def look(job: Job, settings: Settings) -> Own:
    """Of all databases of the settings, and the kits.

    :param settings: with the prefix that is looked at; other servers' folders under it are not.
    :raises StoreError: the store does not show it.
    """
    store, listings = job.store, Listings(job.store)
    own = identity.remembered(settings)
    listed: dict[str, StoredObject] = {}
    keys: dict[str, None] = {}
    manifests: dict[str, list[str]] = {}
    unclaimed: set[str] = set()
    places: dict[str, Layout] = {}
    for database in settings.databases:
        catalog = Catalog(settings, store, database, own, listings, servers=())
        backups = catalog.backups()
        places |= {layout.root: layout for layout in catalog.layouts}
        for layout in catalog.layouts:
            listed |= {one.key: one for one in listings.folder(layout.root).objects}
            for folder in _BESIDE:
                listed |= {one.key: one for one in listings.below(layout.root + folder)}
        ours = [one for one in backups if one.ours]
        unclaimed |= {one.key for one in backups if one.candidate and one.described is None}
        manifests[database] = [one.layout.manifest(one.name) for one in ours]
        parts = partials.look(catalog, backups).parts
        keys |= dict.fromkeys(key for one in ours for key in _of_backup(one))
        keys |= dict.fromkeys(key for one in parts if one.ours for key in _described(one))
    for layout in places.values():
        keys |= dict.fromkeys(_said_by(job, layout, listed, settings.server_name))
        keys |= dict.fromkeys(_events(job, layout, listed, settings.server_name))
    root = kits.root_of(settings)
    listed |= {one.key: one for one in listings.below(root)}
    for kit in kits.list_kits(settings, store):
        if kit.ours:
            described = kits.manifest_key(settings, kit.name)
            keys |= dict.fromkeys((kit.key, described + signed.SUFFIX, described))
    there = [listed[key] for key in keys if key in listed]
    return Own(there, manifests, len(unclaimed), listed)


def _of_backup(backup: Backup) -> Iterable[str]:
    yield backup.layout.globals(backup.name)
    yield backup.key
    yield from signed.each_after_its_signature(backup.noted.keys)
    yield from _with_signature(backup.layout.manifest(backup.name))


def _described(part: Backup) -> Iterable[str]:
    yield part.key
    yield from _with_signature(part.layout.manifest(part.name))


def _with_signature(key: str) -> Sequence[str]:
    return key + signed.SUFFIX, key


def _said_by(job: Job, layout: Layout, listed: Collection[str], server: str) -> Iterable[str]:
    """What people have said here of backups, and this server has written down."""
    told = [key for key in listed if said.is_said(layout.root, key)]
    return signed.each_after_its_signature(_written_by(job, told, server))


def _events(job: Job, layout: Layout, listed: Collection[str], server: str) -> Iterable[str]:
    """This server's events in a journal, and its claims of names. With a number their names say
    whose they are; of the others, of earlier versions, they say so themselves.
    """
    folder = f"{layout.root}journal/"
    certain, perhaps = list[str](), list[str]()
    for key in listed:
        named = gaps.parse(key.removeprefix(folder)) if key.startswith(folder) else None
        if named and old_events.is_ours(named, server):
            (certain if named.number else perhaps).append(key)
    return signed.each_after_its_signature([*certain, *_written_by(job, perhaps, server)])


def _written_by(job: Job, keys: Sequence[str], server: str) -> list[str]:
    """Those objects that say to be this server's."""

    def says(key: str, data: bytes | PostgresBackupError | None) -> tuple[str, bool]:
        try:
            whose = fitted(load(data, MOST_BYTES), _Whose) if isinstance(data, bytes) else None
        except Unfit:
            whose = None
        return key, whose is not None and whose["server"] == server

    return [key for key, ours in job.store.get_many(keys, says) if ours]
