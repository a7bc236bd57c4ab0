"""Is everything all right? Decided here and nowhere else: what is wrong with backups, which alarms
that raises, and what state a database and a server are in. Pure.

Who asks: ``status`` and the end of ``setup.yml``, the watch, the metrics, and the page and the
report, by what ``status`` says of each server.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Literal, NamedTuple, TypedDict

from ..clock import parse_timestamp
from ..findings import Finding, finding
from ..text import printable
from .alarm_kinds import Alarm, OpenAlarm, advice

if TYPE_CHECKING:  # the page is made where there is no store to be asked
    from ..catalog.backups import Backup

#: what a database can be; the worst first, see :data:`STATES`
DatabaseState = Literal["none", "stale", "failed", "bad", "well"]
#: what a server can be
ServerState = Literal["none", "stale", "failed", "bad", "unwell", "unasked", "look", "well"]
#: bad and unknown need somebody, warn is worth a look
Kind = Literal["bad", "unknown", "warn", "good"]


class State(NamedTuple):
    """How a state is to be taken, and how it is called."""

    kind: Kind
    label: str


#: the worst first
STATES: dict[ServerState, State] = {
    "none": State("bad", "No good backup"),
    "stale": State("bad", "Stale"),
    "failed": State("bad", "Last backup failed"),
    "bad": State("bad", "Damaged backup"),
    "unwell": State("bad", "Not well"),
    "unasked": State("unknown", "Could not be asked"),
    "look": State("warn", "Worth a look"),
    "well": State("good", "All is well"),
}
#: findings that make a server unhealthy -> the alarm that each raises
_GRAVE = {
    "NO_BACKUP": "BACKUP_STALE",
    "BACKUP_STALE": "BACKUP_STALE",
    "BACKUP_BAD": "BACKUP_BAD",
    "BACKUP_FROM_THE_FUTURE": "BACKUP_FROM_THE_FUTURE",
    "ROWS_GONE": "ROWS_GONE",
    "SIGNED_BACKUP_GONE": "SIGNED_BACKUP_GONE",
    "TWO_SERVERS": "TWO_SERVERS",
    "FOREIGN_WRITER": "FOREIGN_WRITER",
    "BACKUP_VANISHED": "BACKUP_VANISHED",
    "COPY_STALE": "COPY_STALE",
}
#: findings that raise no alarm here and make it unhealthy all the same
_UNWELL = (
    *("CLOCK_OFF", "DISK_FULL", "STATE_NOT_WRITTEN"),
    *("PITR_STOPPED", "PITR_GAP", "PITR_STALE", "PITR_DISK", "PITR_DRILL"),
)
#: so many findings are told in one alarm
_TOLD = 3
#: English whatever the locale
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Failed(NamedTuple):
    """A backup that failed, and that none has made good since."""

    at: str
    reason: str


class Judged(TypedDict):
    """What a database is; ``failed`` says in a sentence what has failed since its newest good
    backup, or is empty.
    """

    state: DatabaseState
    failed: str


class Reason(TypedDict):
    """Why a server is not simply well, the alarm that was raised for it, and what to do, as an
    administrator of the server types it; empty where the text says it.
    """

    text: str
    alarm: OpenAlarm | None
    todo: str


class Verdict(TypedDict):
    """What a server is, and why."""

    healthy: bool
    state: ServerState
    why: list[Reason]


def is_stale(taken_at: datetime, fresh_hours: int, now: datetime) -> bool:
    """Whether a newest good backup of that time is too old."""
    return now - taken_at > timedelta(hours=fresh_hours)


def findings_of(
    database: str,
    backups: Sequence[Backup],
    last: Backup | None,
    fresh_hours: int,
    now: datetime,
) -> list[Finding]:
    """What is wrong with the backups of a database: NO_BACKUP, BACKUP_STALE, BACKUP_BAD, what is
    wrong with those that nobody owns, and proofs that cannot be read.

    :param last: the newest good one of them.
    """
    findings: list[Finding] = []
    if last is None:
        findings.append(finding("NO_BACKUP", f"{database} has no good backup", database=database))
    elif is_stale(last.taken_at, fresh_hours, now):
        age = (now - last.taken_at).total_seconds() / 3600
        message = (
            f"the newest good backup of {database} is {age:.1f} hours old ({last.name}); "
            f"{fresh_hours} are allowed"
        )
        findings.append(finding("BACKUP_STALE", message, database=database))
    for backup in backups:
        message = f"{backup.name}: {backup.problem}"
        if backup.problem and backup.ours:
            newest = last is None or backup.dated_at > last.taken_at
            findings.append(finding("BACKUP_BAD", message, database=database, newest=newest))
        elif backup.problem and (backup.candidate or backup.forged):
            # whose it is cannot be told; what is forged may say so, or be another server's
            findings.append(finding(backup.problem_code, message))
    unread = [why for backup in backups if backup.candidate for why in backup.noted.unread]
    findings += [finding("PROOF_UNREADABLE", why) for why in unread[:_TOLD]]
    if len(unread) > _TOLD:
        findings.append(finding("PROOF_UNREADABLE", f"and {len(unread) - _TOLD} more proofs"))
    return findings


def is_healthy(findings: Sequence[Finding]) -> bool:
    """Whether nothing of what was found is grave; where the clock is wrong, or nothing can be
    noted, nobody knows.
    """
    return not any(
        found["code"] in _UNWELL or (found["code"] in _GRAVE and not _is_past(found))
        for found in findings
    )


def _is_past(found: Finding) -> bool:
    """What a clock that was ahead has named, and a newer one has made harmless."""
    return found["code"] == "BACKUP_FROM_THE_FUTURE" and not found.get("newest", True)


def alarms_of(database: str, findings: Sequence[Finding]) -> dict[str, Alarm | None]:
    """The alarms that a look at the backups of a database may raise, by code; None where all is
    well.

    A bad backup before the newest good one is told by ``status``, and is nothing to be woken for.

    :param findings: of all databases.
    """
    alarms: dict[str, Alarm | None] = {}
    for code in dict.fromkeys(_GRAVE.values()):
        messages = [
            found["message"]
            for found in findings
            if found.get("database") == database
            and _GRAVE.get(found["code"]) == code
            and found.get("newest", True)
        ]
        alarms[code] = Alarm(code, database, "; ".join(messages[:_TOLD])) if messages else None
    return alarms


def of_database(
    database: str,
    last_taken_at: str | None,
    fresh_hours: int,
    failed: Failed | None,
    findings: Sequence[Finding],
    now: datetime,
) -> Judged:
    """What a database is.

    :param last_taken_at: of its newest good backup; None where there is none.
    :param findings: of all databases.
    """
    since = failed if failed and failed.at > (last_taken_at or "") else None
    told = (
        f"the backup of {database} failed on {when(since.at)} UTC: {since.reason}" if since else ""
    )
    bad = any(f["code"] == "BACKUP_BAD" and f.get("database") == database for f in findings)
    state: DatabaseState = "bad" if bad else "well"
    if since:
        state = "failed"
    if last_taken_at is None:
        state = "none"
    elif is_stale(parse_timestamp(last_taken_at), fresh_hours, now):
        state = "stale"
    return {"state": state, "failed": told}


def of_server(
    databases: Mapping[str, Judged],
    findings: Sequence[Finding],
    alarms: Sequence[OpenAlarm] = (),
    waits: str = "",
) -> Verdict:
    """What a server is: not well where a backup is missing, too old, bad or failed, an alarm is
    open, or the last run failed.

    :param waits: what the last run has left to be tried again, in a sentence; empty: nothing.
    """
    states = [database["state"] for database in databases.values()]
    state: ServerState = next((state for state in STATES if state in states), "none")
    if state == "well" and (alarms or waits or not is_healthy(findings)):
        state = "unwell"
    if state == "well" and findings:
        state = "look"
    failed = {name: database["failed"] for name, database in databases.items()}
    return {
        "healthy": STATES[state].kind in ("good", "warn"),
        "state": state,
        "why": _reasons(findings, alarms, failed, waits),
    }


def in_words(state: ServerState) -> str:
    """The verdict in a few words, for the head of an answer."""
    kind, label = STATES[state]
    if kind in ("good", "warn"):
        return label.lower()
    return "NOT WELL" if state == "unwell" else f"NOT WELL ({label.lower()})"


def _reasons(
    findings: Sequence[Finding],
    alarms: Sequence[OpenAlarm],
    failed: Mapping[str, str],
    waits: str,
) -> list[Reason]:
    """Why a server is not simply well, the worst first, nothing twice."""
    grave = (*_GRAVE, *_UNWELL)
    told = [_todo(found) for found in findings if found["code"] in grave]
    told += [(text, advice("BACKUP_FAILED", name)) for name, text in failed.items() if text]
    told += [(waits, "")] if waits else []
    told += [(found["message"], "") for found in findings if found["code"] not in grave]
    raised: dict[str, OpenAlarm] = {}
    for alarm in alarms:
        known = next((text for text, _ in told if alarm["message"] in text), "")
        if not known:
            told.append((alarm["message"], ""))
        raised[known or alarm["message"]] = alarm
    todo = dict(reversed(told))  # the first of each text
    todo |= {
        text: advice(alarm["code"], alarm["database"], alarm["hint"])
        for text, alarm in raised.items()
    }
    return [
        {
            "text": printable(re.sub("^the ", "The ", text)),
            "alarm": raised.get(text),
            "todo": printable(todo[text]),
        }
        for text in dict.fromkeys(text for text, _ in told)
    ]


def _todo(found: Finding) -> tuple[str, str]:
    code = _GRAVE.get(found["code"], found["code"])
    return found["message"], advice(code, found.get("database", ""))


def when(text: str) -> str:
    """``27 Jan 2026 09:02``, of a timestamp."""
    at = parse_timestamp(text)
    return f"{day(at.date())} {at.year} {at:%H:%M}"


def day(at: date) -> str:
    """``27 Jan``."""
    return f"{at.day} {MONTHS[at.month - 1]}"
