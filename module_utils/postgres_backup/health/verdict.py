"""Is everything all right? Decided here and nowhere else: what is wrong with backups, which alarms
that raises, what state a database and a server are in, and all of it in one line. Pure.

Who asks: ``status`` (findings, healthy or not), the watch (alarms), the page (states and why), the
report (one line).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Literal, NamedTuple, TypedDict

from ..clock import parse_timestamp
from ..findings import Finding, finding
from ..text import printable
from .alarm_kinds import Alarm, OpenAlarm

if TYPE_CHECKING:  # the page is made where there is no store to be asked
    from ..catalog.backups import Backup
    from .server_facts import DatabaseFacts, Failure, ServerFacts

#: what a database can be; the worst first, see :data:`STATES`
DatabaseState = Literal["none", "stale", "failed", "bad", "well"]
#: what a server can be
ServerState = Literal["none", "stale", "failed", "bad", "unasked", "look", "well"]
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
}
#: so many findings are told in one alarm
_TOLD = 3
#: English whatever the locale
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class _Named(TypedDict):
    name: str


class ServerAnswer(_Named, total=False):
    """A server, as the inventory calls it, and what it said of itself (see
    ``server_facts.describe``) or why it could not be asked.
    """

    facts: ServerFacts
    error: str


class Reason(TypedDict):
    """Why a server is not simply well, and the alarm that was raised for it."""

    text: str
    alarm: OpenAlarm | None


class ServerVerdict(TypedDict):
    """What a server is; ``limit`` is its name for ``--limit``, as a shell takes it."""

    name: str
    limit: str
    facts: ServerFacts | None
    state: ServerState
    kind: Kind
    label: str
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
    """Whether nothing of what was found is grave; where the clock is wrong, nobody knows."""
    return not any(
        found["code"] == "CLOCK_OFF" or (found["code"] in _GRAVE and not _is_past(found))
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


def database_state(
    last_taken_at: str | None,
    fresh_hours: int,
    failures: Sequence[Failure],
    some_are_bad: bool,
    now: datetime,
) -> DatabaseState:
    """What a database is.

    :param last_taken_at: of its newest good backup; None where there is none.
    :param failures: of the time that the page looks back.
    :param some_are_bad: of the backups that are kept.
    """
    if last_taken_at is None:
        return "none"
    if is_stale(parse_timestamp(last_taken_at), fresh_hours, now):
        return "stale"
    if any(failure["what"] == "backup" and failure["at"] > last_taken_at for failure in failures):
        return "failed"
    return "bad" if some_are_bad else "well"


def of_servers(servers: Sequence[ServerAnswer]) -> list[ServerVerdict]:
    """What each server is, the worst first."""
    order = list(STATES)
    return sorted(map(_of_server, servers), key=lambda s: (order.index(s["state"]), s["name"]))


def _of_server(server: ServerAnswer) -> ServerVerdict:
    facts = server.get("facts")
    state = _state(facts) if facts else "unasked"
    error = printable(server.get("error") or "it gave no answer")
    return {
        "name": server["name"],
        "limit": shlex.quote(server["name"]),
        "facts": facts,
        "state": state,
        "kind": STATES[state].kind,
        "label": STATES[state].label,
        "why": _reasons(facts) if facts else [{"text": error, "alarm": None}],
    }


def _state(facts: ServerFacts) -> ServerState:
    states = [database["state"] for database in facts["databases"]]
    worst: ServerState = next((state for state in STATES if state in states), "none")
    return "look" if worst == "well" and (facts["alarms"] or facts["findings"]) else worst


def _reasons(facts: ServerFacts) -> list[Reason]:
    """Why a server is not simply well, the worst first, nothing twice."""
    texts = [found["message"] for found in facts["findings"] if found["code"] in _GRAVE]
    texts += [_failed(database) for database in facts["databases"] if database["state"] == "failed"]
    texts += [found["message"] for found in facts["findings"] if found["code"] not in _GRAVE]
    alarms: dict[str, OpenAlarm] = {}
    for alarm in facts["alarms"]:
        told = next((text for text in texts if alarm["message"] in text), "")
        if not told:
            texts.append(alarm["message"])
        alarms[told or alarm["message"]] = alarm
    return [
        {"text": printable(re.sub("^the ", "The ", text)), "alarm": alarms.get(text)}
        for text in dict.fromkeys(texts)
    ]


def _failed(database: DatabaseFacts) -> str:
    failure = next(f for f in database["failures"] if f["what"] == "backup")
    at, reason = when(failure["at"]), failure["reason"]
    return f"the backup of {database['database']} failed on {at} UTC: {reason}"


def line(servers: Sequence[ServerVerdict]) -> str:
    """Is everything all right? In one line.

    :param servers: the worst first.
    """
    if not servers:
        return "There is no server in the inventory"
    wrong = [server for server in servers if server["kind"] in ("bad", "unknown")]
    if wrong:
        if len(servers) == 1:
            return f"{printable(wrong[0]['name'])} needs you: {wrong[0]['label'].lower()}"
        names = ", ".join(f"{printable(s['name'])} ({s['label'].lower()})" for s in wrong[:3])
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        need = "needs" if len(wrong) == 1 else "need"
        return f"{len(wrong)} of {len(servers)} servers {need} you: {names}{more}"
    look = sum(server["kind"] == "warn" for server in servers)
    if look:
        some = f"{look} of {len(servers)} servers"
        some = some if len(servers) > 1 else printable(servers[0]["name"])
        return f"The backups are fresh; {some} {'is' if look == 1 else 'are'} worth a look"
    return "All is well: every database has a fresh, good backup"


def when(text: str) -> str:
    """``27 Jan 2026 09:02``, of a timestamp."""
    at = parse_timestamp(text)
    return f"{day(at.date())} {at.year} {at:%H:%M}"


def day(at: date) -> str:
    """``27 Jan``."""
    return f"{at.day} {MONTHS[at.month - 1]}"
