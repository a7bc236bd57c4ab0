"""What alarms there are, how each reads, and which of them explains another. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, TypedDict

from ..clock import parse_timestamp
from ..settings import Settings
from ..shapes.kinds import Moment
from ..text import human_age

#: what each alarm is, for a headline, the most telling first
TITLES = {
    "STORE_FAILS": "the object storage cannot be used",
    "CLOCK_OFF": "the clock is wrong",
    "BACKUP_FAILED": "the backup of {database} failed",
    "RESTORE_FAILED": "the restore of {database} failed",
    "DRILL_FAILED": "the drill of {database} failed",
    "DRILL_OVERDUE": "the drill of {database} is overdue",
    "VERIFY_FAILED": "a backup of {database} that was read again is bad",
    "PRUNE_FAILED": "old backups of {database} could not be deleted",
    "KIT_FAILED": "the server kit could not be saved",
    "KIT_EMPTIED": "folders of the server kit are empty",
    "KIT_SHRUNK": "the server kit is far smaller than the one before",
    "NIGHT_SKIPPED": "the nightly run did not happen",
    "SIGNED_BACKUP_GONE": "the newest signed backup of {database} is gone from the bucket",
    "BACKUP_VANISHED": "backups of {database} have gone from the bucket",
    "BACKUP_BAD": "the newest backup of {database} is bad",
    "BACKUP_FROM_THE_FUTURE": "the newest backup of {database} is dated in the future",
    "BACKUP_STALE": "{database} has no fresh backup",
    "COPY_FAILED": "the backups could not be copied to the second store",
    "COPY_STALE": "the second store has no fresh backup of {database}",
    "TWO_SERVERS": "two servers write backups of {database} under one name",
    "FOREIGN_WRITER": "somebody else writes backups beside those of {database}",
    "ROWS_GONE": "all rows of tables of {database} are gone",
    "ROWS_DROPPED": "tables of {database} have lost many rows",
    "ROWS_JUMPED": "tables of {database} have many more rows",
    "SIZE_DROPPED": "the backup of {database} is far smaller than usual",
    "SIZE_JUMPED": "the backup of {database} is far larger than usual",
    "DISK_SHORT": "the disk has no room to restore {database}",
    "ARCHIVING_FAILS": "what PostgreSQL archives does not get through",
    "PITR_STOPPED": "not every second is kept",
    "PITR_DISK": "what waits to be archived fills the disk",
    "PITR_GAP": "a piece of what was archived is missing",
    "PITR_STALE": "the cluster has no fresh backup",
    "PITR_DRILL": "every second was kept, and could not be brought back",
    "HOUSEKEEPING_REFUSED": "what is done beside the backups fails",
    "LOG_FAILS": "the log of the backups cannot be written",
    "STATE_FAILS": "what the server remembers of its backups cannot be written",
}
#: what to type, where the alarm itself does not say it
_ADVICE = {
    "STORE_FAILS": "postgres-backup status",
    "CLOCK_OFF": "timedatectl set-ntp true",
    "DISK_FULL": "df -h; df -i",
    "STATE_NOT_WRITTEN": "df -h; ansible-playbook setup.yml makes the folder",
    "BACKUP_FAILED": "postgres-backup backup --database {database}",
    "RESTORE_FAILED": "postgres-backup restore latest --database {database} --check",
    "DRILL_FAILED": (
        "postgres-backup drill --database {database}; where backups are encrypted: "
        "ansible-playbook playbooks/drill.yml -e backup_age_identity_file=FILE"
    ),
    "DRILL_OVERDUE": (
        "postgres-backup drill --database {database}; where backups are encrypted: "
        "ansible-playbook playbooks/drill.yml -e backup_age_identity_file=FILE"
    ),
    "VERIFY_FAILED": (
        "postgres-backup list --database {database}; postgres-backup backup --database {database}; "
        "ask who else has a key to the bucket"
    ),
    "PRUNE_FAILED": "postgres-backup prune --database {database}",
    "KIT_FAILED": "postgres-backup kit",
    "KIT_EMPTIED": (
        "is every volume mounted (findmnt)? if files were lost: postgres-backup restore-kit with "
        "the kit named"
    ),
    "KIT_SHRUNK": "if files were lost: postgres-backup restore-kit with the kit named",
    "NIGHT_SKIPPED": (
        "systemctl status cron; cat /etc/cron.d/postgres-backup; if it is not there: "
        "ansible-playbook setup.yml"
    ),
    "SIGNED_BACKUP_GONE": (
        "ask who else has a key to the bucket; postgres-backup backup --database {database}"
    ),
    "BACKUP_VANISHED": (
        "crontab -l of each user, ls /etc/cron.d, the lifecycle rules of the bucket; ask who else "
        "has a key to it"
    ),
    "BACKUP_BAD": "postgres-backup backup --database {database}",
    "BACKUP_FROM_THE_FUTURE": (
        "timedatectl set-ntp true; postgres-backup backup --database {database}"
    ),
    "BACKUP_STALE": "postgres-backup history; postgres-backup backup --database {database}",
    "COPY_FAILED": "postgres-backup copy; the backups in the first store are not touched by it",
    "COPY_STALE": "postgres-backup copy",
    "TWO_SERVERS": "postgres-backup list --database {database}; docs/cookbook.md",
    "FOREIGN_WRITER": (
        "crontab -l of each user, ls /etc/cron.d, systemctl list-timers; switch off what backs up "
        "{database} too; docs/from-the-scripts.md"
    ),
    "ROWS_GONE": "docs/DISASTERS.md if they were lost",
    "SIZE_DROPPED": (
        "postgres-backup history --database {database}; if rows were lost: postgres-backup list, "
        "then restore (docs/DISASTERS.md)"
    ),
    "SIZE_JUMPED": "postgres-backup history --database {database}",
    "ROWS_DROPPED": (
        "if they were lost: postgres-backup list, then restore the tables (docs/DISASTERS.md)"
    ),
    "ROWS_JUMPED": "look whether that is meant",
    "LOG_FAILS": (
        "backups are taken all the same, and the journal has the lines (journalctl -t "
        "postgres-backup); df -h; ansible-playbook setup.yml makes the file"
    ),
    "STATE_FAILS": (
        "backups are taken all the same, and alarms sent, perhaps at each look; is the disk full, "
        "or mounted read-only? df -h, findmnt; ansible-playbook setup.yml makes the folder"
    ),
    "DISK_SHORT": "make room, or set backup_restore_in_place: true",
    "ARCHIVING_FAILS": (
        "PostgreSQL's log says why (/var/log/postgresql, or docker logs of its container); df -h"
    ),
    "PITR_STOPPED": (
        "tail /var/log/postgresql/*.log; ansible-playbook setup.yml says what is wrong"
    ),
    "PITR_DISK": "df -h; make room, then ansible-playbook setup.yml says why nothing is archived",
    "PITR_GAP": "postgres-backup pitr-backup --full --config /etc/postgres-backup-pitr/config.env",
    "PITR_STALE": "tail /var/log/postgres-backup-pitr.log",
    "PITR_DRILL": "postgres-backup pitr-drill --config /etc/postgres-backup-pitr/config.env",
    "HOUSEKEEPING_REFUSED": (
        "the backups are taken; give the key the right that is missing (docs/reference.md, What is "
        "asked of the store)"
    ),
}
#: an alarm with one of these codes explains others of the same cause; a prune that is refused
#: explains no failed backup
_EXPLAIN_THEIR_CAUSE = ("STORE_FAILS", "CLOCK_OFF", "BACKUP_FAILED")
#: an alarm that somebody has been told of explains another of the same database, which is then not
#: told
_EXPLAINED_BY = {
    "BACKUP_STALE": (
        "BACKUP_FAILED",
        "BACKUP_BAD",
        "BACKUP_FROM_THE_FUTURE",
        "NIGHT_SKIPPED",
        "SIGNED_BACKUP_GONE",
    ),
    "NIGHT_SKIPPED": ("BACKUP_FAILED",),
    "COPY_STALE": ("COPY_FAILED", "NIGHT_SKIPPED"),
    "BACKUP_VANISHED": ("SIGNED_BACKUP_GONE",),
    "SIZE_DROPPED": ("ROWS_GONE", "ROWS_DROPPED"),
    "KIT_SHRUNK": ("KIT_EMPTIED",),
    "SIZE_JUMPED": ("ROWS_JUMPED",),
}


@dataclasses.dataclass(frozen=True)
class Alarm:
    """Something that a person should know.

    :param code: one of :data:`TITLES`.
    :param database: whose it is; empty: the server's.
    :param message: why, in one sentence.
    :param hint: what to type; empty: what is usual for this code.
    :param cause: ``store``, ``clock`` and the like: of several alarms with one cause only the first
        is told.
    """

    code: str
    database: str
    message: str
    hint: str = ""
    cause: str = ""

    @property
    def key(self) -> str:
        return key(self.code, self.database)


class OpenAlarm(TypedDict):
    """An alarm as results tell of it; ``since`` is when it was raised."""

    code: str
    database: str
    message: str
    since: str
    #: what to do, in the words of what raised it; may be empty
    hint: str


class GoodBackup(TypedDict):
    """The newest good backup of a database, as far as a message tells of it."""

    backup: str
    taken_at: Annotated[str, Moment()]


class _Kept(OpenAlarm):
    cause: str
    #: an address, in letters that tell nothing of it -> when it was told
    told: dict[str, str]


class KeptAlarm(_Kept, total=False):
    """An alarm as the state keeps it."""

    ended: str
    #: its database has left the settings; whether the trouble is over, nobody knows
    unwatched: bool


def key(code: str, database: str = "") -> str:
    """Under which an alarm is remembered."""
    return f"{code}:{database}"


def explains(known: KeptAlarm, other: KeptAlarm) -> bool:
    """Whoever was told of the one needs not be told of the other."""
    if (
        known["cause"]
        and known["cause"] == other["cause"]
        and known["code"] in _EXPLAIN_THEIR_CAUSE
    ):
        return True
    same = known["database"] == other["database"] or not known["database"] or not other["database"]
    return same and known["code"] in _EXPLAINED_BY.get(other["code"], ())


def advice(code: str, database: str, hint: str = "") -> str:
    """What to do about an alarm or a finding of that code; empty where nothing is known.

    :param hint: what raised it says so itself.
    """
    return "; ".join(filter(None, [hint, _ADVICE.get(code, "").format(database=database)]))


def message(
    settings: Settings, alarm: KeptAlarm, good: Mapping[str, GoodBackup], now: datetime
) -> tuple[str, str]:
    """Headline and text of what began or, where it has ``ended``, is over.

    :param good: the newest good backup of each database, as far as one is known.
    """
    # one that a newer version has left says no more than its code
    what = TITLES.get(alarm["code"], alarm["code"]).format(database=alarm["database"])
    over, unwatched = "ended" in alarm, alarm.get("unwatched", False)
    lines = [f"Server: {settings.server_name}"]
    if unwatched:
        lines.append(
            f"{alarm['database']} is no longer in the settings of this server: nobody backs it up, "
            f"and nobody looks. The trouble began {alarm['since']}: {alarm['message']}"
        )
        lines.append(
            "What to do: nothing, if that is meant; else put it back into backup_databases, and "
            "run setup.yml"
        )
        headline = f"{settings.server_name}: no longer watched: {what}"
        return settings.hide(headline), settings.hide("\n".join(lines))
    if over:
        lines.append(f"Over since {alarm['ended']}; it began {alarm['since']}: {alarm['message']}")
    else:
        lines.append(f"Why: {alarm['message']}")
    for name in [alarm["database"]] if alarm["database"] else settings.databases:
        last = "none is known here"
        if name in good:
            last = f"{good[name]['backup']}, {_age(good[name]['taken_at'], now)} old"
        lines.append(f"Last good backup of {name}: {last}")
    if not over:
        todo = advice(alarm["code"], alarm["database"], alarm["hint"])
        lines.append(f"What to do: {todo}")
        lines += [f"Whom to call: {settings.contact}"] if settings.contact else []
    headline = f"{settings.server_name}: {'over: ' if over else ''}{what}"
    return settings.hide(headline), settings.hide("\n".join(lines))


def _age(taken_at: str, now: datetime) -> str:
    return human_age((now - parse_timestamp(taken_at)).total_seconds() / 3600)
