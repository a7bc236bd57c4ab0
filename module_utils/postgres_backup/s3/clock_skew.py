"""Whether this machine's clock and the store's agree; where they do not, no age can be trusted."""

from __future__ import annotations

from ..errors import PostgresBackupError
from ..findings import finding
from .store import Store

#: seconds that our clock and the store's may be apart; S3 itself refuses requests that are more
#: than this off
MAX_CLOCK_DIFFERENCE = 15 * 60


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
    difference = store.clock_difference()
    if wrong := clock_fault(difference):
        raise PostgresBackupError(
            f"Failed to prune: {wrong}, so no age can be trusted",
            "Set the clock (timedatectl set-ntp true), then try again; nothing was deleted",
            [finding("CLOCK_DIFFERS", f"{difference:.0f} seconds")],
        )
