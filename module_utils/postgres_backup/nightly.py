"""What cron calls: back up every database, prune what each backup makes superfluous, save the server kit; say how it went."""

from __future__ import annotations

import time

from . import backup, kit, manifest, prune, state
from .errors import PostgresBackupError, UsageError, unexpected
from .names import utc_now
from .progress import Progress, human_bytes, human_seconds
from .settings import Settings

#: the state in which the last run is described
LAST_RUN = "last-run.json"


def run(settings: Settings, progress: Progress) -> dict:
    """One night. A database that fails does not keep the others from their backup, and is not pruned; nor does a kit that fails.

    :return: ``databases``: per database ``backup``, ``deleted``, ``error``; ``kit``: its result (None where there are no paths) and
        ``kit_error``; ``exit_status``, ``findings``, ``seconds``, ``changed``.
    """
    began, started = time.monotonic(), utc_now()
    databases: dict[str, dict] = {}
    statuses = []
    for name in settings.databases:
        one: dict = {"backup": None, "deleted": [], "error": ""}
        databases[name] = one
        step = "backup"
        try:
            one["backup"] = backup.create(settings, name, progress=progress)
            step = "prune"
            one["deleted"] = prune.prune(settings, name, progress=progress)["deleted"]
        except Exception as any_error:  # noqa: BLE001 - whatever it is, it must not keep the other databases from their backup
            error = any_error if isinstance(any_error, PostgresBackupError) else unexpected(any_error)
            one["error"] = settings.hide(f"{step}: {error.message}")
            statuses.append(error.exit_status)
            progress.step(settings.hide(f"{name}: {step} failed: {error.message}" + (f" ({error.hint})" if error.hint else "")))
    saved, kit_error, kit_status = _save_kit(settings, progress)
    result = {
        "changed": True,
        "started_at": manifest.timestamp(started),
        "seconds": round(time.monotonic() - began, 1),
        "databases": databases,
        "kit": saved,
        "kit_error": kit_error,
        "exit_status": _exit_status(statuses + kit_status, len(databases) + bool(settings.paths)),
        "findings": [],
    }
    try:
        state.write(settings, LAST_RUN, result)
    except UsageError as error:  # what is in the bucket is there all the same
        result["findings"].append({"code": "STATE_NOT_WRITTEN", "message": error.message})
        progress.step(error.message)
    progress.step(_verdict(settings, result))
    return result


def _save_kit(settings: Settings, progress: Progress) -> tuple[dict | None, str, list[int]]:
    """:return: the kit's result, what failed, and its exit status if it failed."""
    if not settings.paths:
        return None, "", []
    try:
        return kit.create(settings, progress=progress), "", []
    except Exception as any_error:  # noqa: BLE001 - the databases' backups are in the bucket whatever it is
        error = any_error if isinstance(any_error, PostgresBackupError) else unexpected(any_error)
        progress.step(settings.hide(f"kit: failed: {error.message}" + (f" ({error.hint})" if error.hint else "")))
        return None, settings.hide(error.message), [error.exit_status]


def _exit_status(failures: list[int], parts: int) -> int:
    """What all parts of a night have in common (each was locked, say), else 1: not all was done."""
    if not failures:
        return 0
    return failures[0] if len(failures) == parts and len(set(failures)) == 1 else 1


def _verdict(settings: Settings, result: dict) -> str:
    """The last line of the log of a night: OK or FAILED, and why."""
    failed = [
        f"{name}: {one['error']}" + (f" (its backup {one['backup']['backup']} is in the bucket)" if one["backup"] else "")
        for name, one in result["databases"].items()
        if one["error"]
    ] + ([f"kit: {result['kit_error']}"] if result["kit_error"] else [])
    if failed:
        return f"FAILED {settings.server_name}: " + "; ".join(failed)
    size = sum(one["backup"]["bytes"] for one in result["databases"].values())
    return f"OK {settings.server_name}: {len(result['databases'])} database(s), {human_bytes(size)} in {human_seconds(result['seconds'])}"
