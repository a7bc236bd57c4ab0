"""The dead-man's switch: a service elsewhere expects a sign of life and raises the alarm when none
comes (as Healthchecks does).

The addresses are those of Healthchecks' pinging API: ``URL/start``, ``URL`` after success,
``URL/fail``, each by POST, the body kept as a log.
"""

from __future__ import annotations

import urllib.parse

from ..findings import Finding, finding
from ..settings import Settings

#: the service keeps 100 kB of a body; the end of a log says why
_LONGEST = 10_000
#: seconds to connect, and to wait for an answer; a ping that takes longer is given up
CONNECT, ANSWER = 5.0, 10.0
#: how often one ping is tried
_TRIES = 2


def send(settings: Settings, event: str = "", body: str = "") -> list[Finding]:
    """Send one sign of life. A backup that is in the bucket is there whether or not somebody hears
    of it, so nothing is raised.

    :param event: ``start``, ``fail``, or empty for success.
    :param body: what the service is to keep; secrets are blotted out, and only its end is sent.
    :return: findings, code PING_FAILED; empty where it was heard, or where there is no
        ``ping_url``.
    """
    if not settings.ping_url:
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
                    _address(settings.ping_url, event),
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
    message = f"The dead-man's switch could not be told {what} (backup_ping_url): {reason}"
    return [finding("PING_FAILED", message)]


def _address(url: str, event: str) -> str:
    """The address of an event; a query stays at the end."""
    parts = urllib.parse.urlsplit(url)
    return parts._replace(path=parts.path.rstrip("/") + (f"/{event}" if event else "")).geturl()
