"""Does somebody else put backups where ours lie? An older script whose line was forgotten does, and
its retention deletes by age whatever it finds there, proven backups of ours too.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated

from ..catalog import begun, journal
from ..catalog.backups import Backup
from ..clock import format_timestamp, parse_timestamp
from ..findings import Finding, finding
from ..machine import state
from ..s3.store import Store
from ..settings import Settings
from ..shapes.kinds import Moment

#: the moment at which the older scripts were switched off
_GONE = state.Kept("older-scripts.json", dict[str, Annotated[str, Moment()]], room=0)
#: the newest ones that are asked for; it takes one to tell
_ASKED = 5


def scripts_gone(settings: Settings, now: datetime) -> list[Finding]:
    """The older scripts have made way just now; what they wrote until then is no news.

    :return: findings: what the state could not do.
    """
    return state.write(settings, _GONE, {"at": format_timestamp(now)})


def look(
    settings: Settings, store: Store, database: str, backups: Sequence[Backup], now: datetime
) -> list[Finding]:
    """FOREIGN_WRITER where objects have come, after the first backup that this server has signed,
    that none of our servers says to have begun.

    It asks the store for one listing of each such object, and for nothing where there is none.

    :param backups: of one database, newest first.
    :raises StoreError: the journal cannot be listed.
    """
    ours = {one["key"] for one in begun.left(settings, database)}
    strange = [
        backup
        for backup in suspects(settings, database, backups, now)[:_ASKED]
        if backup.key not in ours and not _is_begun(store, backup)
    ]
    if not strange:
        return []
    named = ", ".join(f"{one.name} ({_when(one)})" for one in strange[:3])
    message = (
        f"somebody else writes backups beside those of {database}: {named}. If an older script "
        "still runs, its retention may delete backups of this server too: look where it runs "
        "(crontab -l of each user, /etc/cron.d, systemctl list-timers, other machines), and switch "
        "it off; ansible-playbook playbooks/adopt.yml does that for this one. What it has left: "
        f"postgres-backup adopt --database {database}"
    )
    return [finding("FOREIGN_WRITER", message, database=database)]


def suspects(
    settings: Settings, database: str, backups: Sequence[Backup], now: datetime
) -> list[Backup]:
    """Objects without a manifest that are younger than our first signed backup, and no older than a
    night: whoever has stopped is no trouble any more. Newest first.
    """
    signed = [one.dated_at for one in backups if one.ours and one.trusted and not _is_adopted(one)]
    if not signed:
        return []
    since = max(min(signed), now - timedelta(hours=settings.fresh_hours))
    if gone := state.read(settings, _GONE).get("at"):
        since = max(since, parse_timestamp(gone))
    # under a prefix that several of our databases share nothing says whose it is; one tells of it
    shared = settings.databases[0] == database
    return [
        one
        for one in backups
        if one.described is None
        and not one.problem
        and (one.candidate or (shared and not one.layout.database))
        and since < one.dated_at
    ]


def _is_adopted(backup: Backup) -> bool:
    return backup.described is not None and "adopted" in backup.described


def _is_begun(store: Store, backup: Backup) -> bool:
    """Whether one of our servers has noted that it begins a backup of that second; it may be about
    to write the manifest, or was killed before it could.
    """
    at = backup.layout.journal(backup.taken_at, journal.BEGAN).removesuffix(".json")
    return any(store.list(at, most=1))


def _when(backup: Backup) -> str:
    at = backup.modified or backup.taken_at
    return f"written {format_timestamp(at)}"
