"""The dead-man's switches: a service elsewhere expects a sign of life and raises the alarm when
none comes (as Healthchecks does). The nights have one, and the drills.

The addresses are those of Healthchecks' pinging API: ``URL/start``, ``URL`` after success,
``URL/fail``, each by POST, the body kept as a log.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import urllib.parse
from collections.abc import Iterator
from typing import Literal, TypedDict

from ..errors import PostgresBackupError, in_words
from ..findings import Finding, finding
from ..machine import signals, state
from ..settings import Settings

#: a switch, as the setting of its address is called
Switch = Literal["ping_url", "drill_ping_url"]
#: the service keeps 100 kB of a body; the end of a log says why
_LONGEST = 10_000
#: seconds to connect, and to wait for an answer; a ping that takes longer is given up
CONNECT, ANSWER = 5.0, 10.0
#: how often one ping is tried
_TRIES = 2


class _Memory(TypedDict, total=False):
    """``heard``: which address of the nights' switch has heard a first sign, by :func:`_id`."""

    heard: str


_STATE = state.Kept("ping.json", _Memory)


@dataclasses.dataclass
class Work:
    """What is told of work at its end.

    :ivar failed: it has come to its end, and that is none to be content with.
    :ivar body: what the service is to keep.
    :ivar findings: PING_FAILED, for each sign that was not heard.
    """

    failed: bool = False
    body: str = ""
    findings: list[Finding] = dataclasses.field(default_factory=list)


@contextlib.contextmanager
def watched(settings: Settings, switch: Switch) -> Iterator[Work]:
    """A sign of life at the beginning of the block and at its end: an error is a failure, and goes
    on.
    """
    work = Work()
    try:
        work.findings += send(settings, "start", switch=switch)
        yield work
    except KeyboardInterrupt as stop:
        signals.defer()  # this is told whatever comes
        told = send(settings, "fail", signals.stopped(stop).message, switch)
        if isinstance(stop, signals.Interrupted):
            stop.findings += told
        raise
    except Exception as any_error:
        error = in_words(any_error)
        error.findings += send(settings, "fail", error.message, switch)
        raise
    work.findings += send(settings, "fail" if work.failed else "", work.body, switch)


def send(
    settings: Settings, event: str = "", body: str = "", switch: Switch = "ping_url"
) -> list[Finding]:
    """Send one sign of life. A backup that is in the bucket is there whether or not somebody hears
    of it, so nothing is raised.

    :param event: ``start``, ``fail``, or empty for success.
    :param body: what the service is to keep; secrets are blotted out, and only its end is sent.
    :return: findings, code PING_FAILED; empty where it was heard, or where the settings have no
        address for this switch.
    """
    address = settings.drill_ping_url if switch == "drill_ping_url" else settings.ping_url
    if not address:
        return []
    import urllib3

    reason = "no answer"
    timeout = urllib3.Timeout(connect=CONNECT, read=ANSWER, total=CONNECT + ANSWER)
    with urllib3.PoolManager(timeout=timeout, retries=urllib3.Retry(0, redirect=3)) as pool:
        for _ in range(_TRIES):
            try:
                # the answer's body is not read: it may come drop by drop for ever
                answer = pool.request(
                    "POST",
                    _address(address, event),
                    body=settings.hide(body)[-_LONGEST:].encode(),
                    preload_content=False,
                )
                answer.close()
                if answer.status < 300:
                    return []
                reason = f"HTTP status {answer.status}"
            except (urllib3.exceptions.HTTPError, ValueError) as error:
                reason = type(error).__name__  # its text holds the address, which is a secret
    what = event or "of success"
    message = f"The dead-man's switch could not be told {what} (backup_{switch}): {reason}"
    return [finding("PING_FAILED", message)]


class First(TypedDict):
    """Whether an address of the nights' switch was new, and heard its first sign."""

    changed: bool
    findings: list[Finding]


#: where nobody asks for a first sign
SILENCE = First(changed=False, findings=[])


def first_sign(settings: Settings, check: bool = False) -> First:
    """Tell the nights' switch that all is well, where its address is new or another: a slip in it
    is known today, and the switch waits for the next night from now on. Called where there is a
    good backup.

    :return: findings: what could not be remembered.
    :raises PostgresBackupError: it was not heard.
    """
    address, findings = settings.ping_url, list[Finding]()
    if not address or state.read(settings, _STATE).get("heard", "") == _id(address):
        return SILENCE
    if not check:
        told = f"{settings.server_name}: setup.yml has set this address, and there is a good backup"
        if unheard := send(settings, "", told):
            raise PostgresBackupError(
                unheard[0]["message"],
                "Compare backup_ping_url (in the config: PING_URL) with the address in the service",
                unheard,
            )
        findings += state.write(settings, _STATE, _Memory(heard=_id(address)))
    return {"changed": True, "findings": findings}


def _id(url: str) -> str:
    """An address as it may be remembered: it is a secret itself."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def _address(url: str, event: str) -> str:
    """The address of an event; a query stays at the end."""
    parts = urllib.parse.urlsplit(url)
    return parts._replace(path=parts.path.rstrip("/") + (f"/{event}" if event else "")).geturl()
