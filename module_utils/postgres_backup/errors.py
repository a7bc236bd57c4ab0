"""What can go wrong, as a person should read it: what failed, why, and what to type next.

Every error that leaves the package is one of these. The exit status of the command line is a
property of the class, so that no caller decides it anew.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Sequence

from .findings import Finding


class PostgresBackupError(Exception):
    """A failure after which nothing was lost (exit status 1).

    :param message: one sentence: ``Failed to <verb> <name>: <cause>``. Never holds a secret.
    :param hint: what to do next, in one or two sentences or as a command to type; may be empty.
    :param findings: machine-readable findings.
    :param passes: whether the cause may pass with time, so that the same may go well a little
        later; where it is not said, as the class says.
    """

    exit_status = 1
    passes: bool = False

    def __init__(
        self,
        message: str,
        hint: str = "",
        findings: Sequence[Finding] = (),
        passes: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.findings: list[Finding] = list(findings)
        if passes is not None:
            self.passes = passes

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class UsageError(PostgresBackupError):
    """Wrong arguments or settings; nothing was touched (exit status 2)."""

    exit_status = 2


class LockedError(PostgresBackupError):
    """Another run holds the lock of this server and database (exit status 3)."""

    exit_status = 3
    passes = True


class StoppedError(PostgresBackupError):
    """A signal ended it: somebody has asked for that, or the machine goes down."""

    passes = True

    def __init__(self, message: str, findings: Sequence[Finding] = ()) -> None:
        left = {finding["code"] for finding in findings} & {"LEFT_BEHIND", "UPLOAD_NOT_ABORTED"}
        half_done = "what was begun is still there; the next run removes it"
        super().__init__(
            message,
            f"Nothing was lost, and {half_done if left else 'nothing half-done was left'}",
            findings,
        )


class BadBackupError(PostgresBackupError):
    """A check found a backup cut, altered or otherwise not what its manifest says (exit status
    4).
    """

    exit_status = 4


class StoreError(PostgresBackupError):
    """The object storage could not be reached, or refused."""


class UnfitStoreError(StoreError):
    """No backup can live on this store, as far as could be tried (exit status 4)."""

    exit_status = 4


class DatabaseError(PostgresBackupError):
    """PostgreSQL, or one of its programs, could not be reached, or refused."""


class PoolerError(DatabaseError):
    """It is a pooler that answers instead of PostgreSQL: wrong settings; nothing was touched (exit
    status 2).
    """

    exit_status = 2


class StandbyError(DatabaseError):
    """The server is a standby, on which nothing can be made; nothing was touched (exit status
    2).
    """

    exit_status = 2


def reason(error: PostgresBackupError) -> str:
    """What kind of failure it is, in one word for counting: ``clock``, ``disk``, ``backup`` (a bad
    one), ``stopped`` (by a signal), ``store``, ``database`` or ``other``.
    """
    codes = {finding["code"] for finding in error.findings}
    if "CLOCK_DIFFERS" in codes:
        return "clock"
    if "DISK_SHORT" in codes or "No space left on device" in error.message:
        return "disk"
    if isinstance(error, StoppedError):
        return "stopped"
    kinds = {BadBackupError: "backup", StoreError: "store", DatabaseError: "database"}
    return next((word for kind, word in kinds.items() if isinstance(error, kind)), "other")


def in_words(error: Exception) -> PostgresBackupError:
    """An error of ours as it is; any other, a mistake of this program, as one sentence that says
    where it happened: a person at three in the morning is not helped by a traceback.
    """
    if isinstance(error, PostgresBackupError):
        return error
    frames = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" at {os.path.basename(frames[0].filename)}:{frames[0].lineno}" if frames else ""
    said = " ".join(str(error).split())[:300]
    return PostgresBackupError(
        f"Failed unexpectedly: {type(error).__name__}{where}" + (f": {said}" if said else ""),
        "This is a mistake in postgres-backup; please report this line",
    )
