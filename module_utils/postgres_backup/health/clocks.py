"""What clocks that are wrong have done, or would do: names from the future, ages that are none."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ..catalog.backups import Backup
from ..clock import format_timestamp
from ..errors import StoreError, reason
from ..findings import Finding, finding
from ..s3.clock_skew import clock_fault
from ..s3.store import Store
from .alarm_kinds import Alarm, key

#: what is told of clocks, in results and by the night in its log
CODES = frozenset({"BACKUP_FROM_THE_FUTURE", "CLOCK_OFF"})
_HINT = "timedatectl set-ntp true"
#: names that are told of one by one
_TOLD = 3


def findings_of(store: Store) -> list[Finding]:
    """CLOCK_OFF where the answers that a store has given so far tell another time than this
    machine's; nothing is asked for it.
    """
    wrong = "" if store.clock_seen is None else clock_fault(store.clock_seen)
    return [finding("CLOCK_OFF", f"{wrong}: no age can be trusted ({_HINT})")] if wrong else []


def look(store: Store) -> tuple[list[str], list[Alarm]]:
    """Compare the clocks, for the watch: the key of the alarm, where that could be known, and the
    alarm.
    """
    try:
        wrong = clock_fault(store.clock_difference())
    except StoreError as refused:  # it has shown the backups; all else can be told
        return [], [refusal(refused)] if reason(refused) == "clock" else []
    return [key("CLOCK_OFF")], [Alarm("CLOCK_OFF", "", wrong, _HINT, "clock")] if wrong else []


def refusal(refused: StoreError) -> Alarm:
    """The alarm of a store that refuses because of the clock: it does answer."""
    return Alarm("CLOCK_OFF", "", refused.message, refused.hint, "clock")


def from_the_future(database: str, backups: Sequence[Backup]) -> list[Finding]:
    """BACKUP_FROM_THE_FUTURE for what a clock that was ahead has named. Pure.

    A newer good one, rightly named, makes it a thing of the past, which is not to be woken for.

    :param backups: of one database, newest first.
    """
    ahead = [backup for backup in backups if backup.ours and backup.ahead]
    after = max((b.taken_at for b in backups if b.ours and b.good and not b.ahead), default=None)
    found = [
        finding(
            "BACKUP_FROM_THE_FUTURE",
            told(str(backup.name), backup.dated_at),
            database,
            newest=after is None or backup.dated_at > after,
        )
        for backup in ahead
    ]
    if len(found) > _TOLD:
        more = f"and {len(found) - _TOLD} more backups of {database} are named so"
        rest = finding("BACKUP_FROM_THE_FUTURE", more, database, newest=False)
        return [*found[:_TOLD], rest]
    return found


def told(name: str, written_at: datetime) -> str:
    """What a backup from the future is, and what to do.

    :param written_at: by the store's clock.
    """
    written = format_timestamp(written_at)
    return (
        f"{name} is dated later than it was written ({written} by the store's clock): the "
        "clock of the machine that took it was ahead. It is never the newest, and is restored by "
        "its name. Set the clock (timedatectl set-ntp true), then: postgres-backup backup"
    )
