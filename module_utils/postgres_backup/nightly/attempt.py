"""One try of a night: each database backed up and pruned, the kit saved. What fails keeps nothing
else from being done.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import TypedDict

from ..backup.database import BackupResult, create_backup
from ..backup.kit import KitResult, create_kit
from ..backup.prune import PrunedLine, prune_backups
from ..clock import format_timestamp, utc_now
from ..errors import LockedError, PostgresBackupError, StoppedError, UsageError, in_words
from ..findings import Finding
from ..health import clocks, housekeeping, outcome
from ..job import Job
from ..machine import signals
from ..machine.due import BACKUP, KIT, PRUNE, Verdict

#: findings of a backup that a night tells in its log
_TOLD = housekeeping.CODES | clocks.CODES
#: what is an answer to whoever asks, which nobody else has noted; at night nobody asks
_ANSWERS = (UsageError, LockedError, StoppedError)


class NightOfDatabase(TypedDict):
    """What became of one database; ``backup`` is None where there is none, ``error`` is empty where
    all went well.
    """

    backup: BackupResult | None
    deleted: list[PrunedLine]
    error: str


@dataclasses.dataclass
class Attempt:
    """What came of a try.

    :ivar databases: those that were tried.
    :ivar kit_error: why the kit failed; None where it was not tried.
    :ivar failures: the exit status of each that failed.
    :ivar left: what is to be tried again, as :class:`..machine.due.Tried` has it.
    :ivar again_at: when the first of it is; None: nothing is.
    :ivar told: somebody was told of a failure.
    """

    databases: dict[str, NightOfDatabase] = dataclasses.field(default_factory=dict)
    kit: KitResult | None = None
    kit_error: str | None = None
    failures: list[int] = dataclasses.field(default_factory=list)
    left: dict[str, str] = dataclasses.field(default_factory=dict)
    again_at: datetime | None = None
    told: bool = False
    findings: list[Finding] = dataclasses.field(default_factory=list)


def attempt(job: Job, parts: Mapping[str, str]) -> Attempt:
    """Do what is left of a night.

    :param job: of no database yet.
    :param parts: as :class:`..machine.due.Tried` has what is left.
    """
    done = Attempt()
    for name in job.settings.databases:
        if name in parts:
            _database(dataclasses.replace(job, wanted_database=name), parts[name], done)
    if "" in parts:
        _kit(job, done)
    return done


def _database(job: Job, step: str, done: Attempt) -> None:
    """One database. A signal ends it, and keeps what comes after it from being begun."""
    night: NightOfDatabase = {"backup": None, "deleted": [], "error": ""}
    done.databases[job.database] = night
    error: PostgresBackupError
    try:
        if signals.asked():
            raise _not_begun()
        if step == BACKUP:
            # what the night looks back at once it looks for itself
            night["backup"] = taken = create_backup(job, look_back=False)
            for found in taken["findings"]:
                if found["code"] in _TOLD:  # nobody reads the result of a night
                    told = f"{job.database}: {found['code']}: {found['message']}"
                    job.progress.step(job.settings.hide(told))
        if job.settings.prune_nightly and not signals.asked():
            step = PRUNE
            night["deleted"] = prune_backups(job)["deleted"]
        return
    except KeyboardInterrupt as stop:
        error = signals.stopped(stop)
        done.findings += error.findings
    except Exception as any_error:  # noqa: BLE001 - whatever it is, it must not keep the other databases from their backup
        error = in_words(any_error)
        if isinstance(any_error, _ANSWERS):
            done.findings += outcome.failed(
                job.settings, step, job.database, error, again=job.again
            )
    finally:
        signals.defer()
    _failed(job, done, job.database, step, f"{job.database}: {step} failed", error)
    night["error"] = job.settings.hide(f"{step}: {error.message}")


def _kit(job: Job, done: Attempt) -> None:
    done.kit_error = ""
    error: PostgresBackupError
    try:
        if signals.asked():
            raise _not_begun()
        done.kit = saved = create_kit(job)
    except KeyboardInterrupt as stop:
        error = signals.stopped(stop)
    except Exception as any_error:  # noqa: BLE001 - the databases' backups are in the bucket whatever it is
        error = in_words(any_error)
        if isinstance(any_error, _ANSWERS):
            outcome.failed(job.settings, "kit", "", error, again=job.again)
    else:
        for found in saved["findings"]:
            job.progress.step(job.settings.hide(f"kit: {found['code']}: {found['message']}"))
        return
    finally:
        signals.defer()
    _failed(job, done, "", KIT, "kit: failed", error)
    done.kit_error = job.settings.hide(error.message)


def _not_begun() -> StoppedError:
    return StoppedError(f"Not begun, for {signals.asked()} came")


def _failed(
    job: Job, done: Attempt, part: str, step: str, said: str, error: PostgresBackupError
) -> None:
    """Note it for the night, and tell the log."""
    verdict = Verdict(None, silent=False)
    if job.again is not None:
        verdict = job.again.decide(part, error.passes, utc_now())
    # what is in the bucket was touched, whatever kept the prune from going on
    done.failures.append(1 if step == PRUNE else error.exit_status)
    done.told = done.told or not verdict.silent
    hint = f" ({error.hint})" if error.hint else ""
    if verdict.at is not None:
        done.left[part] = step
        done.again_at = min(done.again_at or verdict.at, verdict.at)
        hint += f"; it is tried again at {format_timestamp(verdict.at)}"
    job.progress.step(job.settings.hide(f"{said}: {error.message}{hint}"))
