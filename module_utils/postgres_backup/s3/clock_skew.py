"""Whether this machine's clock and the store's agree; where they do not, no age can be trusted."""

from __future__ import annotations

import email.utils
import time
from typing import TYPE_CHECKING

from ..errors import PostgresBackupError
from ..findings import finding
from .calls import Call
from .client import S3
from .errors import CallFailed, Refused

if TYPE_CHECKING:
    from .store import Store

#: seconds that our clock and the store's may be apart; S3 itself refuses requests that are more
#: than this off
MAX_CLOCK_DIFFERENCE = 15 * 60


def difference(s3: S3, call: Call) -> float:
    """Seconds that this machine's clock is ahead of the store's (to about one second).

    :raises CallFailed: the store does not answer, or does not tell the time.
    """
    doing = "compare the clock with the store's"
    before = time.time()
    try:
        told = s3.call(
            call,
            doing,
            lambda client: client.list_objects_v2(
                Bucket=s3.bucket, Prefix=s3.settings.s3_prefix, MaxKeys=1
            )["ResponseMetadata"]["HTTPHeaders"].get("date", ""),
        )
    except Refused as error:
        told = error.headers.get("date", "")  # it may refuse just because of the clock
        if not told:
            raise
    try:
        theirs = email.utils.parsedate_to_datetime(told).timestamp()
    except (ValueError, TypeError):
        raise CallFailed(
            call, f"Failed to {doing}: it does not tell the time", "Ask the provider"
        ) from None
    return (before + time.time()) / 2 - theirs - 0.5


def clock_fault(difference: float) -> str:
    """What is wrong with a clock that is so many seconds ahead of the store's; empty where that is
    nothing.
    """
    if abs(difference) <= MAX_CLOCK_DIFFERENCE:
        return ""
    where = "ahead of" if difference > 0 else "behind"
    return f"this machine's clock is {abs(difference) / 60:.0f} minutes {where} the store's"


def require_honest_clock(store: Store) -> None:
    """:raises PostgresBackupError: our clock and the store's disagree, so no age can be trusted."""
    ahead = store.clock_difference()
    if wrong := clock_fault(ahead):
        raise PostgresBackupError(
            f"Failed to prune: {wrong}, so no age can be trusted",
            "Set the clock (timedatectl set-ntp true), then try again; nothing was deleted",
            [finding("CLOCK_DIFFERS", f"{ahead:.0f} seconds")],
        )
