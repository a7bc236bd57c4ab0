"""What a server remembers of its own runs: small JSON files under STATE_DIR, each replaced whole."""

from __future__ import annotations

import json
import os

from .errors import UsageError
from .settings import Settings


def directory(settings: Settings) -> str:
    """The state directory, made where it is missing.

    :raises UsageError: it cannot be made.
    """
    try:
        os.makedirs(settings.state_dir, mode=0o750, exist_ok=True)
    except OSError as error:
        raise _unusable(settings, f"make {settings.state_dir}", error) from None
    return settings.state_dir


def read(settings: Settings, name: str) -> dict:
    """What was written under a name; empty where nothing was, or where a power loss cut it short.

    :raises UsageError: it is there and cannot be read.
    """
    path = os.path.join(settings.state_dir, name)
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (FileNotFoundError, ValueError):
        return {}
    except OSError as error:
        raise _unusable(settings, f"read {path}", error) from None
    return found if isinstance(found, dict) else {}


def write(settings: Settings, name: str, facts: dict) -> None:
    """Replace what was written under a name.

    :raises UsageError: the directory cannot be written, or its disk is full.
    """
    path = os.path.join(directory(settings), name)
    beside = f"{path}.{os.getpid()}"
    try:
        with open(beside, "w", encoding="utf-8") as file:
            json.dump(facts, file, indent=1, default=str)
        os.replace(beside, path)
    except OSError as error:
        raise _unusable(settings, f"write {path}", error) from None


def _unusable(settings: Settings, doing: str, error: OSError) -> UsageError:
    return UsageError(f"Failed to {doing}: {error.strerror}", f"STATE_DIR in the config must name a directory that this user may write: {settings.state_dir}")
