"""When was it taken? By its name, as long as the store's clock bears that out. Pure.

A name is given by the clock of the machine that writes. What a clock that was ahead has named would
be the newest for as long as that clock was ahead: ``latest`` would be an old state of the data, a
night that fails would leave nothing stale, and the retention would keep it in place of others.

The store says when it was written, by its own clock. That may be long after its name: copies are
younger (``aws s3 sync``). But nothing is written before it is taken; so a name that is later than
that was given by a clock that was ahead.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

#: so much later than the store says a name may be; S3 itself takes requests of clocks that are so
#: much off
AHEAD = timedelta(minutes=15)


class Dated(Protocol):
    """A backup or a kit."""

    @property
    def taken_at(self) -> datetime: ...
    @property
    def ahead(self) -> bool: ...
    @property
    def dated_at(self) -> datetime: ...


D = TypeVar("D", bound=Dated)


def is_ahead(taken_at: datetime, modified: datetime | None) -> bool:
    """Whether a clock that was ahead has given that name.

    :param taken_at: as the name says.
    :param modified: when it was written, by the store's clock; None where it does not say.
    """
    return modified is not None and taken_at > modified + AHEAD


def dated_at(taken_at: datetime, modified: datetime | None) -> datetime:
    """The moment that counts: the name's; of a name that is ahead, when it was written, for it was
    taken no later.
    """
    return modified if modified and is_ahead(taken_at, modified) else taken_at


def newest(dated: Iterable[D]) -> D | None:
    """The newest name among those that are not ahead; None where there is none."""
    timely = (one for one in dated if not one.ahead)
    return max(timely, key=lambda one: one.taken_at, default=None)


def timely(dated: Sequence[D]) -> Sequence[D]:
    """Those that are not ahead; all, where all are: something is better than nothing."""
    return [one for one in dated if not one.ahead] or dated
