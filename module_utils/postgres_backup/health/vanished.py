"""Are the backups that this server signed still there? What the retention deletes, it forgets
before; so where one is not, somebody else did that, or the bucket is as it was on an earlier day.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from ..catalog import history, remembered
from ..catalog.backups import Backup
from ..catalog.names import BackupName
from ..findings import Finding, finding
from ..s3.store import Store
from ..settings import Settings

#: of what is gone it is told for so long: nobody can bring it back
TOLD = timedelta(days=3)
#: names that a message has
_NAMED = 3


def findings_of(
    database: str, backups: Sequence[Backup], known: Mapping[str, str]
) -> list[Finding]:
    """SIGNED_BACKUP_GONE where the newest of what this server remembers is not in the bucket. Pure.

    No retention ever deletes that one.

    :param known: see ``catalog/remembered.look``.
    """
    if not known:
        return []
    newest = _newest(known)
    for backup in backups:
        # one of ours that is another than was signed is bad, and told as such
        is_it = backup.ours or backup.manifest_sha256 == known[newest]
        if backup.layout.manifest(backup.name) == newest and backup.manifest_sha256 and is_it:
            return []
    return [
        finding(
            "SIGNED_BACKUP_GONE",
            f"the newest backup of {database} that this server has signed is gone from the bucket, "
            f"or its manifest is gone or another ({newest}), and nothing here did that",
            database=database,
        )
    ]


def look(
    settings: Settings,
    store: Store,
    database: str,
    backups: Sequence[Backup],
    described: Collection[str],
    now: datetime,
) -> list[Finding]:
    """BACKUP_VANISHED where older ones are gone that no prune of ours has deleted; nothing where
    another machine, or the store, prunes by agreement.

    :param backups: of one database.
    :param described: manifests without a backup, as the same listing has shown them.
    :raises StoreError: the journal cannot be read.
    """
    if not settings.prune_nightly:
        return []
    known = remembered.look(settings, database)
    gone = missing(backups, described, known, remembered.since(settings, database))
    if pruned := _pruned(settings, store, database, gone):
        gone -= pruned
        remembered.forget(settings, database, pruned)
    told = sorted(remembered.missed(settings, database, gone, now, TOLD), key=_stem)
    if not told:
        return []
    more = f" and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
    message = (
        f"{len(told)} backups of {database} that this server has signed are gone from the bucket, "
        f"or their manifests are, and nothing here did that: "
        f"{', '.join(_stem(key) for key in told[:_NAMED])}{more}. Does an older script still run "
        "somewhere, or does the store delete by a rule of its own? If that is meant, set "
        "backup_prune_nightly: false"
    )
    return [finding("BACKUP_VANISHED", message, database=database)]


def missing(
    backups: Sequence[Backup], described: Collection[str], known: Mapping[str, str], since: str
) -> set[str]:
    """Those of what is remembered that are not there; but for the newest, which is another finding.
    Pure.

    What another bucket holds is not gone. That one was here says its manifest, or its object, where
    one of the two is left; else that it was signed since we write into this bucket.

    :param since: the first manifest that was signed for this bucket; empty: that is not known.
    """
    if not known:
        return set()
    objects = {one.layout.manifest(one.name) for one in backups}
    whole = {one.layout.manifest(one.name) for one in backups if one.manifest_sha256}
    here = {*objects, *described}
    lost = (known.keys() - whole) - {_newest(known)}
    return {key for key in lost if key in here or (since and _stem(key) >= _stem(since))}


def _pruned(settings: Settings, store: Store, database: str, gone: Collection[str]) -> set[str]:
    """Those that another machine with our name has pruned, as its signed events say."""
    names = {key: BackupName.parse(f"{_stem(key)}.sql.gz") for key in gone}
    taken = [name.taken_at for name in names.values() if name]
    if not taken:
        return set()
    read = history.happened(settings, store, min(taken), database, only="prune")["events"]
    deleted = {
        str(line.get("backup", "")).partition(".")[0]
        for event in read
        if event["signature"] == "trusted"
        for line in event.get("deleted", [])
    }
    return {key for key in gone if _stem(key) in deleted}


def _newest(known: Mapping[str, str]) -> str:
    return max(known, key=_stem)


def _stem(key: str) -> str:
    """A backup's name without its ending, of its manifest's key; it orders as the times do."""
    return key.rpartition("/")[2].removesuffix(".json")
