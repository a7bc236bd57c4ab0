"""The page in the bucket, and a link to it that ends."""

from __future__ import annotations

from datetime import timedelta
from typing import TypedDict

from ..catalog.names import Layout
from ..clock import format_timestamp, utc_now
from ..errors import UsageError
from ..s3 import calls
from ..s3.store import Store
from ..settings import Settings

#: signature version 4 allows a link to last a week
MOST_HOURS = 168


class _Published(TypedDict):
    changed: bool
    key: str
    ends_at: str


class Published(_Published, total=False):
    """Where the page lies, and until when its ``link`` is good; none with ``check``."""

    link: str


def publish_page(settings: Settings, text: str, hours: int, check: bool = False) -> Published:
    """Put the page under the prefix, in place of the one before, and make a link to it.

    :param text: the page, HTML.
    :param hours: for how long the link is good, at most :data:`MOST_HOURS`.
    :raises UsageError: no link lasts so long.
    :raises StoreError: the store refused the page.
    """
    if not 1 <= hours <= MOST_HOURS:
        raise UsageError(
            f"A link cannot be good for {hours} hours",
            f"1 to {MOST_HOURS}: S3 allows a week (backup_report_link_hours)",
        )
    store = Store(settings)
    store.check()
    key = Layout(settings.s3_prefix).report
    ends = format_timestamp(utc_now() + timedelta(hours=hours))
    if check:
        return {"changed": True, "key": key, "ends_at": ends}
    store.put(calls.PAGE, key, text.encode(), "text/html; charset=utf-8")
    return {"changed": True, "key": key, "link": store.link(key, hours * 3600), "ends_at": ends}


def lines(result: Published) -> list[str]:
    """:func:`publish_page` for a person."""
    if "link" not in result:
        return [f"It would be put into the bucket as {result['key']}"]
    return [
        f"Whoever has this link can read the page, without a key, until {result['ends_at']}:",
        result["link"],
    ]
