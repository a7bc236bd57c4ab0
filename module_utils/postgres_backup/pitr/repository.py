"""What is in the archive of the cluster, as the engine says it.

It ends with 0 although the store is down or the key wrong, so what it says is looked at.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Annotated, TypedDict

from ..errors import StoreError
from ..settings import Settings
from ..shapes.kinds import OneOf, Text, Whole
from ..shapes.reader import Unfit, fitted, load
from . import engine, places

#: of the archive as a whole: it is not there yet; it is and has no backup
MISSING, EMPTY, WELL = (1, 3), 2, 0
#: letters of a log position, such as 0/3000028
_LSN = Text(32, r"[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}")
#: of a backup, such as 20261129-010203F_20261130-010203I
_LABEL = Text(40, r"[0-9]{8}-[0-9]{6}F(_[0-9]{8}-[0-9]{6}[DI])?")
_SEGMENT = Text(24, r"[0-9A-F]{24}")


class _Stopped(TypedDict):
    start: Annotated[int, Whole(0)]
    stop: Annotated[int, Whole(0)]


class _Positions(TypedDict):
    start: Annotated[str, _LSN]
    stop: Annotated[str, _LSN]


class _Segments(TypedDict):
    start: Annotated[str, _SEGMENT]
    stop: Annotated[str, _SEGMENT]


class _Stored(TypedDict):
    delta: Annotated[int, Whole(0)]


class _Size(TypedDict):
    size: Annotated[int, Whole(0)]
    repository: _Stored


class _Backup(TypedDict):
    label: Annotated[str, _LABEL]
    type: Annotated[str, OneOf("full", "diff", "incr")]
    timestamp: _Stopped
    lsn: _Positions
    archive: _Segments
    info: _Size
    error: bool | None


class _Status(TypedDict):
    code: Annotated[int, Whole(0, 1000)]
    message: str


#: what tells one cluster from all others
_Identified = TypedDict("_Identified", {"system-id": Annotated[int, Whole(0)]}, total=False)


class _Made(_Identified):
    version: Annotated[str, Text(8, r"[0-9]{1,3}(\.[0-9]{1,2})?")]


class _Known(TypedDict):
    status: _Status
    backup: list[_Backup]


class _Of(_Known, total=False):
    db: list[_Made]


class _Said(TypedDict):
    archives: list[_Of]


@dataclasses.dataclass(frozen=True)
class Backup:
    """One backup of the cluster; times are UTC, positions as PostgreSQL writes them.

    :param first_segment: of the log, without which it is worth nothing.
    :param bytes: of the cluster.
    :param stored_bytes: that it added to the bucket.
    """

    label: str
    is_full: bool
    began: datetime
    ended: datetime
    stop_lsn: str
    first_segment: str
    bytes: int
    stored_bytes: int


@dataclasses.dataclass(frozen=True)
class Repository:
    """:param code: how the archive is, see :data:`WELL`; :param message: the same in words.
    :param major: of PostgreSQL that wrote into it last; 0: nobody knows.
    :param system_identifier: of its cluster; empty: nobody knows.
    """

    code: int
    message: str
    backups: tuple[Backup, ...]
    major: int = 0
    system_identifier: str = ""

    @property
    def newest_full(self) -> Backup | None:
        return max(
            (one for one in self.backups if one.is_full), key=lambda one: one.ended, default=None
        )

    @property
    def oldest_full(self) -> Backup | None:
        """From whose end on every moment can be recovered."""
        return min(
            (one for one in self.backups if one.is_full), key=lambda one: one.ended, default=None
        )

    @property
    def newest(self) -> Backup | None:
        return max(self.backups, key=lambda one: one.ended, default=None)


def look(settings: Settings, config: str = "") -> Repository:
    """:raises StoreError: what the engine says cannot be read."""
    words = ("info", "--output=json", engine.SOON)
    done = engine.call(settings, "Failed to ask for the backups: ", *words, config=config)
    return read(done.out.encode())


class _Entry(TypedDict, total=False):
    size: Annotated[int, Whole(0)]
    time: Annotated[int, Whole(0)]


class _Listed(TypedDict):
    there: dict[str, _Entry]


def log(settings: Settings) -> dict[str, int]:
    """What of PostgreSQL's log is in the archive: names, and bytes of each.

    :raises StoreError: the store does not answer, or what it says cannot be read.
    """
    return read_log(_listed(settings))


def log_times(settings: Settings) -> dict[str, int]:
    """The same, with the second of the epoch in which each came there; 0: nobody knows.

    :raises StoreError: as of :func:`log`.
    """
    return {name: one.get("time", 0) for name, one in _entries(_listed(settings)).items()}


def history(settings: Settings, log_names: Iterable[str], timeline: int) -> str:
    """The history file of a timeline, as PostgreSQL wrote it; empty where there is none.

    :param log_names: of :func:`log`.
    :raises StoreError: the store does not answer.
    """
    name = next((one for one in log_names if one.endswith(f"/{timeline:08X}.history")), "")
    if not name:
        return ""
    failing = "Failed to read the cluster's history: "
    place = f"archive/{places.STANZA}/{name}"
    return engine.call(settings, failing, "repo-get", engine.SOON, of=place).out


def _listed(settings: Settings) -> bytes:
    failing = "Failed to list what is archived: "
    words = ("repo-ls", "--recurse", "--output=json", engine.SOON)
    return engine.call(settings, failing, *words, of=f"archive/{places.STANZA}").out.encode()


def read_log(data: bytes) -> dict[str, int]:
    """:param data: what the engine has printed; folders have no size.
    :raises StoreError: it cannot be read.
    """
    return {name: entry.get("size", 0) for name, entry in _entries(data).items()}


def _entries(data: bytes) -> dict[str, _Entry]:
    try:
        return fitted(load(b'{"there":' + (_plain(data) or b"{}") + b"}"), _Listed)["there"]
    except Unfit as error:
        raise StoreError(
            f"Failed to read what is in the archive: {error}",
            "Type the same again; if it lasts, look at the log in /var/log/pgbackrest",
        ) from None


def read(data: bytes) -> Repository:
    """:param data: what the engine has printed.
    :raises StoreError: it cannot be read.
    """
    try:
        said = fitted(load(b'{"archives":' + _plain(data) + b"}"), _Said)["archives"]
    except Unfit as error:
        raise StoreError(
            f"Failed to read what is in the archive: {error}",
            "Type the same again; if it lasts, look at the log in /var/log/pgbackrest",
        ) from None
    if not said:
        return Repository(MISSING[0], "there is no archive yet", ())
    backups = tuple(
        Backup(
            one["label"],
            one["type"] == "full",
            datetime.fromtimestamp(one["timestamp"]["start"], timezone.utc),
            datetime.fromtimestamp(one["timestamp"]["stop"], timezone.utc),
            one["lsn"]["stop"],
            one["archive"]["start"],
            one["info"]["size"],
            one["info"]["repository"]["delta"],
        )
        for one in said[0]["backup"]
        if not one["error"]
    )
    status, made = said[0]["status"], said[0].get("db", [])
    major = int(made[-1]["version"].partition(".")[0]) if made else 0
    identifier = str(made[-1].get("system-id", "")) if made else ""
    return Repository(status["code"], status["message"], backups, major, identifier)


def _plain(data: bytes) -> bytes:
    """The same with a blank for each control character: the engine puts the lines of its errors as
    they are between quotes, which is no JSON.
    """
    return bytes(one if one >= 32 else 32 for one in data)


def number_of(lsn: str) -> int:
    """``0/3000028`` as a number of bytes."""
    high, _, low = lsn.partition("/")
    return (int(high, 16) << 32) + int(low, 16)
