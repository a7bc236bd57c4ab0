"""What the bucket says of the numbers of a journal, for a server whose state is lost."""

from __future__ import annotations

from typing import Annotated, TypedDict

from ..errors import PostgresBackupError
from ..s3.store import Store
from ..shapes.kinds import Moment, Most, Text
from ..shapes.reader import Unfit, fitted, load
from ..signing.judge import TRUSTED, UNSIGNED
from . import gaps, signed
from .names import Layout
from .numbers import MOST_RANGES, Number, Range, Row, new_row

#: objects that lie in a journal at most
_MOST = 1_000_000
#: of those that say to be the newest, so many are looked at: somebody else may have put some there
_LOOKED_AT = 16
#: bytes of one at most
_MOST_BYTES = 4 * 1024 * 1024


class _Counted(TypedDict):
    """What an event says of its number."""

    at: Annotated[str, Moment()]
    event: Annotated[str, Text(64)]
    server: str
    number: Number
    begins: Number


class _Event(_Counted, total=False):
    lost: Annotated[list[Range], Most(MOST_RANGES)]


def row(store: Store, layout: Layout) -> Row:
    """How far the numbers of this server have come by its newest event that it has signed (or that
    nobody has signed, where it has no key).

    :raises StoreError: the store does not tell.
    """
    settings, place = store.settings, f"{layout.root}journal/"
    listed = [item.key for item in store.list(place, most=_MOST)]
    there = set(listed)
    named = {key: gaps.parse(key.removeprefix(place)) for key in listed}
    ours = gaps.event_name("", settings.server_name, 1).partition(".")[2]
    counted = sorted(
        (
            (one.number, key)
            for key, one in named.items()
            if one and one.number and one.rest.partition(".")[2] == ours
        ),
        reverse=True,
    )[:_LOOKED_AT]
    keys = [key for _, key in counted]
    believed = signed.Believed.by(settings)
    signatures = signed.signatures(store, keys, there)
    good = TRUSTED if believed.signers.own else UNSIGNED

    def read(key: str, data: bytes | PostgresBackupError | None) -> Row | None:
        if not isinstance(data, bytes):
            return None
        try:
            found = fitted(load(data, _MOST_BYTES), _Event)
        except Unfit:
            return None
        standing = believed.judge(data, signatures.get(key), found["server"])
        named_ = named[key]
        counts = standing.kind == good and found["server"] == settings.server_name
        if not counts or named_ is None or named_.number != found["number"]:
            return None
        return new_row(found["number"], found["begins"], found.get("lost", []))

    rows = [one for one in store.get_many(keys, read, _MOST_BYTES) if one]
    return max(rows, key=lambda one: one["number"], default=new_row())
