"""What cron calls: back up every database, then prune what each backup makes superfluous; say how it went."""

from __future__ import annotations

import json
import os
import time

from . import backup, manifest, prune
from .errors import PostgresBackupError
from .names import utc_now
from .progress import Progress, human_bytes, human_seconds
from .settings import Settings


def run(settings: Settings, progress: Progress) -> dict:
    """One night. A database that fails does not keep the others from their backup, and is not pruned.

    :return: ``databases``: per database ``backup``, ``deleted``, ``error``; ``exit_status`` (the worst), ``seconds``, ``changed``.
    """
    began, started = time.monotonic(), utc_now()
    databases: dict[str, dict] = {}
    statuses = [0]
    for name in settings.databases:
        one: dict = {"backup": None, "deleted": [], "error": ""}
        databases[name] = one
        step = "backup"
        try:
            one["backup"] = backup.create(settings, name, progress=progress)
            step = "prune"
            one["deleted"] = prune.prune(settings, name, progress=progress)["deleted"]
        except PostgresBackupError as error:
            one["error"] = f"{step}: {error.message}"
            statuses.append(error.exit_status)
            progress.step(f"{name}: {step} failed: {error}")
    result = {
        "changed": True,
        "started_at": manifest.timestamp(started),
        "seconds": round(time.monotonic() - began, 1),
        "databases": databases,
        "exit_status": max(statuses),
    }
    _remember(settings, result)
    progress.step(_verdict(settings, result))
    return result


def _verdict(settings: Settings, result: dict) -> str:
    """The last line of the log of a night: OK or FAILED, and why."""
    failed = [f"{name}: {one['error']}" for name, one in result["databases"].items() if one["error"]]
    if failed:
        return f"FAILED {settings.server_name}: " + "; ".join(failed)
    size = sum(one["backup"]["bytes"] for one in result["databases"].values())
    return f"OK {settings.server_name}: {len(result['databases'])} database(s), {human_bytes(size)} in {human_seconds(result['seconds'])}"


def _remember(settings: Settings, result: dict) -> None:
    """The state of the last run, replaced whole."""
    path = os.path.join(settings.state_dir, "last-run.json")
    beside = f"{path}.{os.getpid()}"
    with open(beside, "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1)
    os.replace(beside, path)
