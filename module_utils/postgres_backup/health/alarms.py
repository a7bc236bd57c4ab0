"""Tell people what is wrong: one message when a trouble begins, one when it is over, through
Apprise.

What is open, and who was told of it, is remembered in the server's state, so that a trouble that
lasts is not told again every hour. An address that could not be reached is tried again at the next
look.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from ..clock import format_timestamp, parse_timestamp, utc_now
from ..errors import PostgresBackupError, UsageError
from ..findings import finding
from ..machine import state
from ..settings import Settings
from ..text import human_age

#: the state that remembers: ``open`` troubles by key, ``over`` (those whose end is still to be
#: told), ``good`` backups, ``tested`` addresses
_MEMORY = "alarms.json"
#: what each trouble is, for a headline, the most telling first
TITLES = {
    "STORE_FAILS": "the object storage cannot be used",
    "CLOCK_OFF": "the clock is wrong",
    "BACKUP_FAILED": "the backup of {database} failed",
    "RESTORE_FAILED": "the restore of {database} failed",
    "PRUNE_FAILED": "old backups of {database} could not be deleted",
    "KIT_FAILED": "the server kit could not be saved",
    "NIGHT_SKIPPED": "the nightly run did not happen",
    "BACKUP_BAD": "the newest backup of {database} is bad",
    "BACKUP_STALE": "{database} has no fresh backup",
    "ROWS_DROPPED": "tables of {database} have lost many rows",
    "ROWS_JUMPED": "tables of {database} have many more rows",
    "SIZE_DROPPED": "the backup of {database} is far smaller than usual",
    "SIZE_JUMPED": "the backup of {database} is far larger than usual",
    "DISK_SHORT": "the disk has no room to restore {database}",
}
#: what to type, where the trouble itself does not say it
_ADVICE = {
    "BACKUP_FAILED": "postgres-backup backup --database {database}",
    "RESTORE_FAILED": "postgres-backup restore latest --database {database} --check",
    "PRUNE_FAILED": "postgres-backup prune --database {database}",
    "KIT_FAILED": "postgres-backup kit",
    "NIGHT_SKIPPED": "systemctl status cron; cat /etc/cron.d/postgres-backup; if it is not there: ansible-playbook setup.yml",
    "BACKUP_BAD": "postgres-backup backup --database {database}",
    "BACKUP_STALE": "postgres-backup history; postgres-backup backup --database {database}",
    "SIZE_DROPPED": "postgres-backup history --database {database}; if rows were lost: postgres-backup list, then restore (docs/DISASTERS.md)",
    "SIZE_JUMPED": "postgres-backup history --database {database}",
    "ROWS_DROPPED": "if they were lost: postgres-backup list, then restore the tables (docs/DISASTERS.md)",
    "ROWS_JUMPED": "look whether that is meant",
    "DISK_SHORT": "make room, or set backup_restore_in_place: true",
}
#: a trouble with one of these codes explains others of the same cause; a prune that is refused
#: explains no failed backup
_EXPLAIN_THEIR_CAUSE = ("STORE_FAILS", "CLOCK_OFF", "BACKUP_FAILED")
#: a trouble that somebody has been told of explains another of the same database, which is then not
#: told
_EXPLAINED_BY = {
    "BACKUP_STALE": ("BACKUP_FAILED", "BACKUP_BAD", "NIGHT_SKIPPED"),
    "NIGHT_SKIPPED": ("BACKUP_FAILED",),
    "SIZE_DROPPED": ("ROWS_DROPPED",),
    "SIZE_JUMPED": ("ROWS_JUMPED",),
}


@dataclasses.dataclass(frozen=True)
class Trouble:
    """Something that a person should know.

    :param code: one of :data:`TITLES`.
    :param database: whose trouble it is; empty: the server's.
    :param message: why, in one sentence.
    :param hint: what to type; empty: what is usual for this code.
    :param cause: ``store``, ``clock`` and the like: of several troubles with one cause only the
        first is told.
    """

    code: str
    database: str
    message: str
    hint: str = ""
    cause: str = ""

    @property
    def key(self) -> str:
        return key(self.code, self.database)


def key(code: str, database: str = "") -> str:
    """Under which a trouble is remembered."""
    return f"{code}:{database}"


def open_troubles(settings: Settings) -> list[dict]:
    """The troubles that are open on this server, the oldest first: ``code database message since``."""
    found = state.read(settings, _MEMORY).get("open", {}).values()
    return sorted(
        ({name: one[name] for name in ("code", "database", "message", "since")} for one in found),
        key=lambda one: (one["since"], one["code"]),
    )


def settle(
    settings: Settings,
    judged: Iterable[str],
    seen: Sequence[Trouble] = (),
    good: Mapping[str, dict | None] | None = None,
) -> list[dict]:
    """Note what was looked at and what was found, and tell whoever does not know yet.

    :param judged: keys of the troubles that were looked for: those that are open and were not seen
        are over.
    :param seen: the troubles found.
    :param good: the newest good backup of each database asked for (``backup`` and ``taken_at``),
        for the messages.
    :return: findings: ALERT_NOT_DELIVERED, and STATE_NOT_WRITTEN where it may be told again because
        it cannot be remembered.
    """
    told: list[dict] | None = None

    def look(memory: dict) -> list[dict]:
        _remember(settings, memory, set(judged), seen, good or {})
        return _tell(settings, memory)

    try:
        with state.changing(settings, _MEMORY) as memory:
            told = look(memory)
    except UsageError as error:  # without a memory it is told all the same
        told = look({}) if told is None else told
        return [*told, finding("STATE_NOT_WRITTEN", error.message)]
    return told


def _remember(
    settings: Settings,
    memory: dict,
    judged: set[str],
    seen: Sequence[Trouble],
    good: Mapping[str, dict | None],
) -> None:
    now = format_timestamp(utc_now())
    open_, over = memory.setdefault("open", {}), memory.setdefault("over", [])
    memory.setdefault("good", {}).update(
        {name: {k: one[k] for k in ("backup", "taken_at")} for name, one in good.items() if one}
    )
    for trouble in seen:
        facts = dataclasses.asdict(trouble) | {
            "message": settings.hide(trouble.message),
            "hint": settings.hide(trouble.hint),
        }
        open_[trouble.key] = {"since": now, "told": {}} | open_.get(trouble.key, {}) | facts
    for name in judged - {trouble.key for trouble in seen}:
        if ended := open_.pop(name, None):
            over.append(ended | {"ended": now})
    for name, one in list(open_.items()):
        if (
            one["database"] and one["database"] not in settings.databases
        ):  # it is no longer backed up here
            del open_[name]


def _tell(settings: Settings, memory: dict) -> list[dict]:
    findings = []
    for number, url in enumerate(settings.alert_urls, 1):
        address, now = _id(url), utc_now()
        for one in list(memory["over"]):
            if address in one["told"]:
                if reason := _send(settings, url, *_message(settings, memory, one, now)):
                    findings.append(_undelivered(number, url, reason))
                else:
                    del one["told"][address]
        known = [one for one in memory["open"].values() if address in one["told"]]
        for one in sorted(
            memory["open"].values(), key=lambda one: (one["since"], list(TITLES).index(one["code"]))
        ):
            if address in one["told"] or any(_explains(other, one) for other in known):
                continue
            if reason := _send(settings, url, *_message(settings, memory, one, now)):
                findings.append(_undelivered(number, url, reason))
            else:
                one["told"][address] = format_timestamp(now)
                known.append(one)
    there = {_id(url) for url in settings.alert_urls}
    memory["over"] = [one for one in memory["over"] if there & one["told"].keys()]
    return findings


def _explains(known: dict, other: dict) -> bool:
    """Whoever was told of the one needs not be told of the other."""
    if (
        known["cause"]
        and known["cause"] == other["cause"]
        and known["code"] in _EXPLAIN_THEIR_CAUSE
    ):
        return True
    same = known["database"] == other["database"] or not known["database"] or not other["database"]
    return same and known["code"] in _EXPLAINED_BY.get(other["code"], ())


def _message(settings: Settings, memory: dict, one: dict, now: datetime) -> tuple[str, str]:
    """Headline and text of what began or, where it has ``ended``, is over."""
    what = TITLES[one["code"]].format(database=one["database"])
    over = "ended" in one
    lines = [f"Server: {settings.server_name}"]
    if over:
        lines.append(f"Over since {one['ended']}; it began {one['since']}: {one['message']}")
    else:
        lines.append(f"Why: {one['message']}")
    for name in [one["database"]] if one["database"] else settings.databases:
        good = memory["good"].get(name)
        known = (
            f"{good['backup']}, {_age(good['taken_at'], now)} old" if good else "none is known here"
        )
        lines.append(f"Last good backup of {name}: {known}")
    if not over:
        advice = _ADVICE.get(one["code"], "").format(database=one["database"])
        lines.append("What to do: " + "; ".join(filter(None, [one["hint"], advice])))
    headline = f"{settings.server_name}: {'over: ' if over else ''}{what}"
    return settings.hide(headline), settings.hide("\n".join(lines))


def _age(taken_at: str, now: datetime) -> str:
    return human_age((now - parse_timestamp(taken_at)).total_seconds() / 3600)


def send_test(settings: Settings, only_new: bool = False, check: bool = False) -> dict:
    """Send a message to every address, so that it is known today whether they work.

    :param only_new: only to those that no such message has reached yet.
    :return: ``sent`` (how many), ``addresses`` (their kinds, such as ``mailto``), ``changed``,
        ``findings``.
    :raises UsageError: there are no addresses.
    :raises PostgresBackupError: one of them could not be reached.
    """
    if not settings.alert_urls:
        raise UsageError(
            "There is nobody to tell: no alert addresses are set",
            "Set backup_alert_urls (in the config: ALERT_URLS): docs/monitoring.md",
        )
    tested = set(state.read(settings, _MEMORY).get("tested", []))
    chosen = [
        (number, url)
        for number, url in enumerate(settings.alert_urls, 1)
        if not (only_new and _id(url) in tested)
    ]
    failed, sent = [], []
    headline = f"{settings.server_name}: a test of the alarms of postgres-backup"
    text = f"Server: {settings.server_name}\nThis is how a failed backup would reach you. Nothing is wrong, and there is nothing to do."
    for number, url in [] if check else chosen:
        if reason := _send(settings, url, headline, text):
            failed.append(_undelivered(number, url, reason))
        else:
            sent.append(_id(url))
    if sent:
        with state.changing(settings, _MEMORY) as memory:
            memory["tested"] = sorted(
                ({_id(url) for url in settings.alert_urls} & set(memory.get("tested", [])))
                | set(sent)
            )
    if failed:
        raise PostgresBackupError(
            failed[0]["message"],
            "See https://appriseit.com for how each kind of address is written",
            failed,
        )
    return {
        "changed": bool(chosen),
        "sent": len(sent),
        "addresses": [_kind(url) for _, url in chosen],
        "findings": [],
    }


def _id(url: str) -> str:
    """An address as it may be remembered: it is a secret itself."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def _kind(url: str) -> str:
    return url.partition("://")[0] if "://" in url else "unknown"


def _undelivered(number: int, url: str, reason: str) -> dict:
    return finding(
        "ALERT_NOT_DELIVERED",
        f"Alert address number {number} ({_kind(url)}) could not be told: {reason}",
    )


class _Listener(logging.Handler):
    """What Apprise says of a failure, which it does not return."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def _send(settings: Settings, url: str, headline: str, text: str) -> str:
    """Deliver one message; why it could not be, or an empty string."""
    try:
        import apprise
    except ImportError:
        return "the library apprise is missing: ansible-playbook setup.yml installs it"
    log, listener = logging.getLogger("apprise"), _Listener()
    log.propagate, log.handlers = False, [listener]
    teller = apprise.Apprise()
    if not teller.add(url):
        return "Apprise does not know this kind of address, or something is missing in it"
    if teller.notify(title=headline, body=text, body_format=apprise.NotifyFormat.TEXT):
        return ""
    said = " ".join(" ".join(listener.said[:1]).split())[:200] or "no answer"
    for piece in re.split(r"[/:@?&=,]+", url.partition("://")[2]):
        if len(piece) > 4:  # tokens, passwords and hosts
            said = said.replace(piece, "********")
    return settings.hide(said)


def lines(result: dict) -> list[str]:
    """:func:`send_test` for a person."""
    told = "told" if result["sent"] else "would be told"
    return [f"{told}: {kind}" for kind in result["addresses"]] or ["No address is new."]
