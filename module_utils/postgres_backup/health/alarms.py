"""Tell people what is wrong: one message when an alarm is raised, one when it is over, through
Apprise.

What is open, and who was told of it, is remembered in the server's state, so that an alarm that
lasts is not told again every hour. An address that could not be reached is tried again at the next
look.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypedDict

from ..clock import format_timestamp, utc_now
from ..errors import PostgresBackupError, UsageError
from ..findings import Finding, finding
from ..machine import state, tries
from ..settings import Settings
from .alarm_kinds import TITLES, Alarm, GoodBackup, KeptAlarm, OpenAlarm, explains, message


class _Memory(TypedDict, total=False):
    """What this room remembers in the state."""

    #: by :func:`key`
    open: dict[str, KeptAlarm]
    #: those whose end is still to be told
    over: list[KeptAlarm]
    #: by database
    good: dict[str, GoodBackup]
    #: the addresses that a test has reached
    tested: list[str]


_STATE = state.Kept("alarms.json", _Memory)


def open_alarms(settings: Settings) -> list[OpenAlarm]:
    """The alarms that are open on this server, the oldest first."""
    memory = state.read(settings, _STATE)
    alarms = [
        OpenAlarm(
            code=kept["code"],
            database=kept["database"],
            message=kept["message"],
            since=kept["since"],
            hint=kept["hint"],
        )
        for kept in memory.get("open", {}).values()
    ]
    return sorted(alarms, key=lambda alarm: (alarm["since"], alarm["code"]))


def last_good(settings: Settings) -> dict[str, GoodBackup]:
    """The newest good backup of each database, as far as this server remembers."""
    return state.read(settings, _STATE).get("good", {})


def settle(
    settings: Settings,
    looked_for: Iterable[str],
    raised: Sequence[Alarm] = (),
    good: Mapping[str, GoodBackup | None] | None = None,
) -> list[Finding]:
    """Note what was looked at and what was found, and tell whoever does not know yet.

    :param looked_for: keys of the alarms that might have been raised: those that are open and were
        not raised are over.
    :param raised: what is wrong.
    :param good: the newest good backup of each database asked for, for the messages.
    :return: findings: ALERT_NOT_DELIVERED, and STATE_NOT_WRITTEN where it may be told again because
        it cannot be remembered.
    """
    findings: list[Finding] = []
    with state.changing(settings, _STATE, findings) as memory:
        before = dict(memory.get("open", {}))
        _remember(settings, memory, set(looked_for), raised, good or {})
        after = dict(memory["open"])
        findings += _tell(settings, memory)
    for event, one in (
        *(("alarm", after[name]) for name in after.keys() - before.keys()),
        *(("alarm-over", before[name]) for name in before.keys() - after.keys()),
    ):
        # the lesser half: who is concerned was told, and a full disk has an alarm of its own
        tries.keep(settings, _event(event, one))
    return findings


def _event(event: str, alarm: KeptAlarm) -> Mapping[str, object]:
    """For the journal, which the watch and the night write: an alarm waits for no store."""
    told = {"at": format_timestamp(utc_now()), "event": event, "database": alarm["database"]}
    return {**told, "code": alarm["code"], "reason": alarm["message"], "since": alarm["since"]}


def _remember(
    settings: Settings,
    memory: _Memory,
    looked_for: set[str],
    raised: Sequence[Alarm],
    good: Mapping[str, GoodBackup | None],
) -> None:
    now = format_timestamp(utc_now())
    open_, over = memory.setdefault("open", {}), memory.setdefault("over", [])
    memory.setdefault("good", {}).update(
        {
            name: GoodBackup(backup=backup["backup"], taken_at=backup["taken_at"])
            for name, backup in good.items()
            if backup
        }
    )
    for alarm in raised:
        earlier = open_.get(alarm.key)
        open_[alarm.key] = KeptAlarm(
            code=alarm.code,
            database=alarm.database,
            message=settings.hide(alarm.message),
            hint=settings.hide(alarm.hint),
            cause=alarm.cause,
            since=earlier["since"] if earlier else now,
            told=earlier["told"] if earlier else {},
        )
    for name in looked_for - {alarm.key for alarm in raised}:
        if ended := open_.pop(name, None):
            ended["ended"] = now
            over.append(ended)
    for name, kept in list(open_.items()):
        if kept["database"] and kept["database"] not in settings.databases:
            # nobody looks at it any more: whoever waits for its end must not wait for ever
            over.append({**open_.pop(name), "ended": now, "unwatched": True})


def _tell(settings: Settings, memory: _Memory) -> list[Finding]:
    findings = []
    for number, url in enumerate(settings.alert_urls, 1):
        address, now = _id(url), utc_now()
        for alarm in memory["over"]:
            if address in alarm["told"]:
                if reason := _send(settings, url, *message(settings, alarm, memory["good"], now)):
                    findings.append(_undelivered(number, url, reason))
                else:
                    del alarm["told"][address]
        known = [alarm for alarm in memory["open"].values() if address in alarm["told"]]
        for alarm in sorted(memory["open"].values(), key=_begin):
            if address in alarm["told"] or any(explains(other, alarm) for other in known):
                continue
            if reason := _send(settings, url, *message(settings, alarm, memory["good"], now)):
                findings.append(_undelivered(number, url, reason))
            else:
                alarm["told"][address] = format_timestamp(now)
                known.append(alarm)
    there = {_id(url) for url in settings.alert_urls}
    memory["over"] = [alarm for alarm in memory["over"] if there & alarm["told"].keys()]
    return findings


def _begin(alarm: KeptAlarm) -> tuple[str, int]:
    """The order in which alarms are told: the oldest first, of one time the most telling."""
    return alarm["since"], [*TITLES, alarm["code"]].index(alarm["code"])


class Tested(TypedDict):
    """How a test of the addresses went: to how many it was sent, and the kinds of those that it was
    meant for (such as ``mailto``).
    """

    changed: bool
    sent: int
    addresses: list[str]
    findings: list[Finding]


#: where there is nobody to tell
NOBODY_TOLD = Tested(changed=False, sent=0, addresses=[], findings=[])


def send_test(settings: Settings, only_new: bool = False, check: bool = False) -> Tested:
    """Send a message to every address, so that it is known today whether they work.

    :param only_new: only to those that no such message has reached yet.
    :raises UsageError: there are no addresses.
    :raises PostgresBackupError: one of them could not be reached.
    """
    if not settings.alert_urls:
        raise UsageError(
            "There is nobody to tell: no alert addresses are set",
            "Set backup_alert_urls (in the config: ALERT_URLS): docs/monitoring.md",
        )
    tested = set(state.read(settings, _STATE).get("tested", []))
    chosen = [
        (number, url)
        for number, url in enumerate(settings.alert_urls, 1)
        if not (only_new and _id(url) in tested)
    ]
    failed, sent = [], []
    findings: list[Finding] = []
    headline = f"{settings.server_name}: a test of the alarms of postgres-backup"
    text = (
        f"Server: {settings.server_name}\n"
        "This is how a failed backup would reach you. Nothing is wrong, and there is nothing to do."
    )
    for number, url in [] if check else chosen:
        if reason := _send(settings, url, headline, text):
            failed.append(_undelivered(number, url, reason))
        else:
            sent.append(_id(url))
    if sent:
        with state.changing(settings, _STATE, findings) as memory:
            there = {_id(url) for url in settings.alert_urls}
            memory["tested"] = sorted((there & set(memory.get("tested", []))) | set(sent))
    if failed:
        raise PostgresBackupError(
            failed[0]["message"],
            "See https://appriseit.com for how each kind of address is written",
            failed + findings,
        )
    return {
        "changed": bool(chosen),
        "sent": len(sent),
        "addresses": [_kind(url) for _, url in chosen],
        "findings": findings,
    }


def _id(url: str) -> str:
    """An address as it may be remembered: it is a secret itself."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def _kind(url: str) -> str:
    return url.partition("://")[0] if "://" in url else "unknown"


def _undelivered(number: int, url: str, reason: str) -> Finding:
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


def lines(result: Tested) -> list[str]:
    """:func:`send_test` for a person."""
    told = "told" if result["sent"] else "would be told"
    return [f"{told}: {kind}" for kind in result["addresses"]] or ["No address is new."]
