"""The files of point-in-time recovery that PostgreSQL's user writes and reads."""

from __future__ import annotations

from ..errors import PostgresBackupError, UsageError
from ..machine.files import read_bounded, replace_file

#: bytes of one at most
_LIMIT = 1 << 16


def read(path: str) -> str:
    """What a file of ours holds; empty where there is none."""
    try:
        return read_bounded(path, _LIMIT)[0].decode(errors="replace")
    except FileNotFoundError:
        return ""
    except PermissionError as error:
        raise UsageError(
            f"Failed to read {path}: {error.strerror}",
            "It belongs to PostgreSQL's user: run `ansible-playbook setup.yml`",
        ) from None


def write(path: str, text: str, mode: int) -> None:
    """:raises PostgresBackupError: its folder is none that it can be written into."""
    try:
        replace_file(path, text.encode(), mode, sync=True)
    except OSError as error:
        raise PostgresBackupError(
            f"Failed to write {path}: {error.strerror}",
            "Its folder must be PostgreSQL's user's: run `ansible-playbook setup.yml`",
        ) from None
