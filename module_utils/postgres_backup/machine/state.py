"""What a server remembers of its own runs: small JSON files under STATE_DIR.

All of it is a hint. What cannot be read, or is not of its shape, is put aside, told once and counts
as empty; what cannot be written is told and lost. Nothing here raises: no state keeps a backup from
being taken or an alarm from being sent.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import json
import os
import stat
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar, cast

from ..errors import UsageError
from ..findings import Finding
from ..settings import Settings
from ..shapes.reader import MOST_BYTES, Unfit, fitted, load
from .damage import noted, put_aside
from .files import replace_file, sweep_halves

T = TypeVar("T", bound=Mapping[str, object])
#: bytes that a state changed in place takes at least where it holds anything, blanks and a newline
#: at its end: a block, so it can be written again where the disk has no room left
_RESERVED = 4095
#: how often a file is opened anew because somebody has just taken it away
_TRIES = 100


@dataclasses.dataclass(frozen=True)
class Kept(Generic[T]):
    """One file of the state; made once, beside the type of what it holds.

    :param name: of the file.
    :param shape: what it holds, as a TypedDict or a ``dict[str, ...]``, in the words of
        ``shapes/kinds``. An empty object always fits: it is what a new server remembers.
    :param room: bytes that it takes at least where it holds anything and is changed in place.
    """

    name: str
    shape: type[T]
    room: int = _RESERVED

    def __post_init__(self) -> None:
        EVERY[self.name] = self

    def path(self, settings: Settings) -> str:
        """Where it lies."""
        return os.path.join(settings.state_dir, self.name)

    def of(self, data: bytes) -> T:
        """What these bytes hold; nothing where they are only blanks, as of a file just made.

        :raises Unfit: they are of another shape.
        """
        found = load(data, any_letters=True) if data.strip() else {}
        return fitted(found, self.shape) if found else cast(T, found)


#: every file of the state whose room was loaded, by its name
EVERY: dict[str, object] = {}
#: what could not be written, by its path: until it can, this process at least knows it
_unwritten: dict[str, bytes] = {}


def directory(settings: Settings) -> str:
    """The state directory, made where it is missing.

    :raises UsageError: it cannot be made.
    """
    try:
        os.makedirs(settings.state_dir, mode=0o750, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"Failed to make {settings.state_dir}: {error.strerror}", advice(settings)
        ) from None
    return settings.state_dir


def advice(settings: Settings) -> str:
    """What to do where the state cannot be written."""
    return (
        "STATE_DIR in the config must name a directory that this user may write: "
        + settings.state_dir
    )


def read(settings: Settings, kept: Kept[T], findings: list[Finding] | None = None) -> T:
    """What was written; empty where nothing was, or nothing that can be believed.

    :param findings: gets STATE_DAMAGED; None: whoever asks :func:`.damage.troubles` hears of it.
    """
    path, told = kept.path(settings), [] if findings is None else findings
    if path in _unwritten:
        return kept.of(_unwritten[path])
    try:
        return kept.of(_bytes(path))
    except OSError as error:
        if _is_there(path):
            put_aside(path, error, told)
    except Unfit:  # or somebody is writing it at this moment
        with _held(settings, kept, told, 0) as (_, found):
            return found
    return kept.of(b"")


def write(settings: Settings, kept: Kept[T], facts: T) -> list[Finding]:
    """Replace what was written.

    :return: findings, code STATE_NOT_WRITTEN: the directory cannot be written, or its disk is full.
    """
    path, text = kept.path(settings), _text(facts)
    findings: list[Finding] = []
    read(settings, kept, findings)  # what it takes the place of may be none of ours
    try:
        directory(settings)
        try:
            replace_file(path, text)
        except IsADirectoryError as folder:
            put_aside(path, folder, findings)
            replace_file(path, text)
        _unwritten.pop(path, None)
    except (OSError, UsageError) as error:
        findings.append(_not_written(path, text, error))
    return findings


@contextlib.contextmanager
def changing(
    settings: Settings, kept: Kept[T], findings: list[Finding] | None = None
) -> Iterator[T]:
    """A state to change in a ``with`` block, by one process at a time; written at its end, also
    where the block raised.

    The file itself is the lock, so it is written in place, and keeps some room of its own: the disk
    that is full is a reason to remember something. A power loss in the middle of writing leaves
    nothing that can be read, which counts as an empty state.

    :param findings: gets STATE_DAMAGED, and STATE_NOT_WRITTEN where the change is lost: the block
        has run all the same, with what could be read. None: as in :func:`read`.
    """
    told = [] if findings is None else findings
    with _held(settings, kept, told, os.O_CREAT) as (handle, found):
        try:
            yield found
        finally:
            path, room = kept.path(settings), kept.room if found else 0
            text = _text(found).ljust(room) + b"\n"
            try:
                if handle is None:  # not ours to write in, or there is no such place
                    directory(settings)
                    replace_file(path, text, 0o640)
                else:
                    _write_in_place(handle, text)
                _unwritten.pop(path, None)
            except (OSError, UsageError) as error:
                told.append(_not_written(path, text, error))


def sweep(settings: Settings) -> None:
    """Remove the halves of files that processes which were killed have left."""
    with contextlib.suppress(OSError):
        for name in {other.rpartition(".")[0] for other in os.listdir(settings.state_dir)}:
            if name.endswith(".json"):
                sweep_halves(os.path.join(settings.state_dir, name))


@contextlib.contextmanager
def _held(
    settings: Settings, kept: Kept[T], findings: list[Finding], make: int
) -> Iterator[tuple[int | None, T]]:
    """Nobody else changes it in this block; gives a handle to write in, None where there is none,
    and what it holds.

    :param make: ``os.O_CREAT`` where it is missing, or 0.
    """
    path = kept.path(settings)
    for _ in range(_TRIES):
        try:
            handle, writable = _open(settings, path, make)
        except OSError as error:
            if _is_there(path) and put_aside(path, error, findings):
                continue
            break
        except UsageError:
            break
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if not _is_still_there(handle, path):
                continue
            try:
                found = kept.of(_all_of(handle))
            except (OSError, Unfit) as error:
                if put_aside(path, error, findings):
                    continue
                found = kept.of(b"")
            if path in _unwritten:
                found = kept.of(_unwritten[path])
            yield handle if writable else None, found
            return
        finally:
            os.close(handle)
    yield None, kept.of(_unwritten.get(path, b""))


def _open(settings: Settings, path: str, make: int) -> tuple[int, bool]:
    """A handle of a state, and whether it may be written."""
    if os.path.islink(path) and not os.path.exists(path):
        raise FileNotFoundError(errno.ENOENT, "a link to nothing")
    if make:
        directory(settings)
    # a pipe of that name must not make us wait for ever
    flags = os.O_CLOEXEC | os.O_NONBLOCK
    try:
        return os.open(path, os.O_RDWR | make | flags, 0o640), True
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
    return os.open(path, os.O_RDONLY | flags), False


def _is_there(path: str) -> bool:
    """Something of that name, be it a link to nothing; not where its folder is none, or closed to
    us: that is told by whoever writes.
    """
    return os.path.lexists(path) and os.access(os.path.dirname(path), os.X_OK)


def _is_still_there(handle: int, path: str) -> bool:
    """Nobody has put another in its place while we waited."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except OSError:
        return False


def _bytes(path: str) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return _all_of(handle)
    finally:
        os.close(handle)


def _all_of(handle: int) -> bytes:
    """:raises OSError: it is no file, or cannot be read; of one that is too long only its
    beginning is read, which is of no shape.
    """
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is no file")
    with open(handle, "rb", closefd=False) as file:
        return file.read(MOST_BYTES + 1)


def _text(facts: Mapping[str, object]) -> bytes:
    return json.dumps(facts, indent=1, default=str).encode()


def _write_in_place(handle: int, text: bytes) -> None:
    if os.pwrite(handle, text, 0) < len(text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.ftruncate(handle, len(text))


def _not_written(path: str, text: bytes, error: OSError | UsageError) -> Finding:
    _unwritten[path] = text
    if isinstance(error, UsageError):
        return noted("STATE_NOT_WRITTEN", path, error.message)
    return noted("STATE_NOT_WRITTEN", path, f"Failed to write {path}: {error.strerror}")
