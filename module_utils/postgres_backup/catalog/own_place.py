"""Where in the bucket a server puts what it writes, where nobody has said so: directly under the
prefix that all servers share, or in a folder of its own under it.

Objects that are there already decide first, so that a server that was set up before, or is rebuilt,
finds its own; only a new server gets a new place.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from ..errors import StoreError, UsageError
from ..machine import config_file
from ..machine.files import read_bounded
from ..machine.identity import Mark
from ..s3.errors import Refused
from ..s3.store import Store
from ..settings import Settings
from .backup import Backup
from .backups import Catalog
from .listed_once import Listings
from .names import own_folder

#: bytes of a config at most
_LARGEST = 1 << 20
#: in the first lines of every config that is ours
_MARK = "ansible-playbook setup.yml"
#: what a trial of the store leaves for a moment under the prefix; nobody's place
_NOBODYS = ("store-check/",)

#: what decides: the config that is there, its own objects, what others have there, or nothing; not
#: known where the store does not answer
Reason = Literal["config", "own objects", "others", "alone", "not known"]


class Chosen(TypedDict):
    """``prefix`` for ``backup_s3_prefix``, and why; ``new``: of a server that has none yet."""

    changed: bool
    prefix: str
    reason: Reason
    new: bool


def choose(
    settings: Settings, config: str, several: bool, store_may_be_gone: bool = False
) -> Chosen:
    """Where a server's objects go.

    :param settings: with the prefix that all servers share.
    :param config: the path of the server's config, which may be there or not.
    :param several: other servers of the inventory may share the bucket.
    :param store_may_be_gone: where it does not answer, it is the prefix of all servers, under which
        the own folder is found too.
    :raises StoreError: the store does not answer, or does not know the key.
    """
    kept = _of_config(settings, config)
    if kept is not None:
        return {"changed": False, "prefix": kept, "reason": "config", "new": False}
    shared = settings.s3_prefix.strip("/")
    own = own_folder(shared, settings.server_name)
    try:
        found = _of_objects(settings, own)
    except StoreError as error:
        if not _shows_nothing(error):
            if not store_may_be_gone:
                raise
            return {"changed": False, "prefix": shared, "reason": "not known", "new": False}
        found = None
    if found in (shared, own):
        return {"changed": False, "prefix": found, "reason": "own objects", "new": False}
    if several or found:
        return {"changed": False, "prefix": own, "reason": "others", "new": True}
    return {"changed": False, "prefix": shared, "reason": "alone", "new": True}


def _shows_nothing(error: StoreError) -> bool:
    """The bucket is still to come, or the key may only write to it."""
    return isinstance(error, Refused) and (
        error.code == "NoSuchBucket" or (error.status, error.code) == (403, "AccessDenied")
    )


def _of_config(settings: Settings, path: str) -> str | None:
    """The prefix of this server's config; None where there is none, or it is another server's, as
    on a machine whose disk was copied.
    """
    try:
        text = read_bounded(path, _LARGEST)[0].decode()
        values = config_file.parse(text, path)
    except (OSError, UnicodeDecodeError, UsageError):
        return None  # it will be written anew
    prefix = values.get("S3_PREFIX", settings.s3_prefix).strip("/")
    its_own = values.get("SERVER_NAME") == settings.server_name
    # whoever gives a server of the shared prefix another name leaves its backups where they are
    return prefix if _MARK in text and (its_own or prefix == settings.s3_prefix) else None


def _of_objects(settings: Settings, own: str) -> str | None:
    """The prefix under which this server's newest backup lies, or backups that nobody has claimed,
    as older scripts leave them; another word where only others have something there; None where
    nothing is there.
    """
    store = Store(settings)
    store.check()
    listings = Listings(store)
    shared = settings.s3_prefix.strip("/")
    backups = [
        backup
        for name in settings.databases
        for backup in Catalog(settings, store, name, Mark(), listings).backups()
    ]
    if ours := [backup for backup in backups if _names(backup, settings.server_name)]:
        # at two places while it moves: then the config names the first
        newest = max(backup.dated_at for backup in ours)
        at = {backup.layout.prefix for backup in ours if backup.dated_at == newest}
        return shared if shared in at else own
    there = listings.folder(f"{shared}/")
    above = [backup for backup in backups if backup.layout.prefix == shared]
    if above and not any(backup.described for backup in above):
        return shared
    return "others'" if there.objects or there.folders.difference(_nobodys(shared)) else None


def _nobodys(shared: str) -> set[str]:
    return {f"{shared}/{name}" for name in _NOBODYS}


def _names(backup: Backup, server: str) -> bool:
    """Its manifest names this server, whoever has signed it."""
    return backup.described is not None and backup.described["server"].get("name") == server


def lines(chosen: Chosen) -> list[str]:
    """:func:`choose` for a person; nothing where nothing is new."""
    if not chosen["new"]:
        return []
    why = {
        "others": "a folder of its own, for other servers may share the bucket",
        "alone": "no other server has anything there",
    }
    return [f"Backups go to {chosen['prefix']}/ in the bucket: {why[chosen['reason']]}"]
