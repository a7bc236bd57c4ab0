"""What a server remembers of its own runs: small JSON files under STATE_DIR."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from typing import cast

from ..errors import UsageError
from ..findings import Finding, finding
from ..settings import Settings
from .files import replace_file

#: the state that tells of the last nightly run: what ``nightly.run`` returns
LAST_RUN = "last-run.json"
#: and of the last restore of each database
LAST_RESTORE = "last-restore.json"
#: what the last look into the bucket has found: ``watched_at`` and ``databases``
LAST_LOOK = "last-look.json"
#: what was counted since the server was set up: ``pruned`` and ``failures`` by reason, for each
#: database
COUNTERS = "counters.json"
#: bytes that a state changed in place takes at least, blanks and a newline at its end: a block, so
#: it can be written again where the disk has no room left
_RESERVED = 4095


def directory(settings: Settings) -> str:
    """The state directory, made where it is missing.

    :raises UsageError: it cannot be made.
    """
    try:
        os.makedirs(settings.state_dir, mode=0o750, exist_ok=True)
    except OSError as error:
        raise _unusable(settings, f"make {settings.state_dir}", error) from None
    return settings.state_dir


def read(settings: Settings, name: str) -> dict[str, object]:
    """What was written under a name; empty where nothing was, or where a power loss cut it short.

    :raises UsageError: it is there and cannot be read.
    """
    path = os.path.join(settings.state_dir, name)
    try:
        with open(path, "rb") as file:
            return _parse(file.read())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _unusable(settings, f"read {path}", error) from None


def write(settings: Settings, name: str, facts: Mapping[str, object]) -> None:
    """Replace what was written under a name.

    :raises UsageError: the directory cannot be written, or its disk is full.
    """
    path = os.path.join(directory(settings), name)
    try:
        replace_file(path, json.dumps(facts, indent=1, default=str).encode())
    except OSError as error:
        raise _unusable(settings, f"write {path}", error) from None


@contextlib.contextmanager
def changing(settings: Settings, name: str) -> Iterator[dict[str, object]]:
    """A state to change in a ``with`` block, by one process at a time; written at its end, also
    where the block raised.

    The file itself is the lock, so it is written in place, and keeps some room of its own: the disk
    that is full is a reason to remember something. A power loss in the middle of writing leaves
    nothing that can be read, which counts as an empty state.

    :raises UsageError: it cannot be read or written.
    """
    path = os.path.join(directory(settings), name)
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise _unusable(settings, f"open {path}", error) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        found = _parse(os.pread(handle, os.fstat(handle).st_size, 0))
        try:
            yield found
        finally:
            text = json.dumps(found, indent=1, default=str).encode().ljust(_RESERVED) + b"\n"
            try:
                written = os.pwrite(handle, text, 0)
            except OSError as error:
                raise _unusable(settings, f"write {path}", error) from None
            if written < len(text):
                raise _unusable(
                    settings, f"write {path}", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                )
            os.ftruncate(handle, len(text))
    finally:
        os.close(handle)


def _parse(text: bytes) -> dict[str, object]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def count(
    settings: Settings, kind: str, database: str, label: str = "", number: int = 1
) -> list[Finding]:
    """Count something for the metrics: ``count(settings, "failures", "crm", "store")``. A number
    that is lost fails nothing.

    :return: findings, code STATE_NOT_WRITTEN.
    """
    try:
        with changing(settings, COUNTERS) as numbers:
            *folders, last = [kind, database] + ([label] if label else [])
            for name in folders:
                numbers = cast("dict[str, object]", numbers.setdefault(name, {}))
            numbers[last] = cast(int, numbers.get(last, 0)) + number
    except UsageError as error:
        return [finding("STATE_NOT_WRITTEN", error.message)]
    return []


def _unusable(settings: Settings, doing: str, error: OSError) -> UsageError:
    return UsageError(
        f"Failed to {doing}: {error.strerror}",
        "STATE_DIR in the config must name a directory that this user may write: "
        + settings.state_dir,
    )
