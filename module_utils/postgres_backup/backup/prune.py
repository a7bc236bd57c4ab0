"""Remove what the retention lets go; take over what old scripts left."""

from __future__ import annotations

import time

from ..catalog import journal
from ..catalog.backups import Catalog, newest_good
from ..catalog.names import Layout
from ..catalog.retention import Decision, Policy, plan
from ..clock import utc_now
from ..findings import finding
from ..health import outcome
from ..job import Job
from ..machine import lock, state
from ..s3.clock_skew import require_honest_clock
from ..s3.store import Store
from .prune_replaced import prune_replaced


def prune_backups(job: Job, allow_many: bool = False) -> dict:
    """Delete the backups of one database that the policy no longer keeps, each with its manifest
    and globals, and databases replaced long ago.

    :param allow_many: let this run delete more than half.
    :param check: the same plan, nothing deleted.
    :return: ``database deleted kept findings seconds changed``; ``deleted`` and ``kept`` list
        ``backup`` and ``reason``; ``waiting`` counts what waits for ``adopt``; ``replaced_deleted``
        and ``replaced_kept`` list databases that restores have replaced.
    :raises PostgresBackupError: the clocks disagree, or the store refuses; nothing more is deleted.
    """
    began = time.monotonic()
    with (
        outcome.noted(job.settings, "prune", job.database, check=job.check),
        lock.hold(job.settings, job.database, "prune"),
    ):
        job.store.check()
        require_honest_clock(job.store)
        catalog = Catalog(job.settings, job.store, job.database)
        backups = catalog.backups()
        decisions = plan(backups, Policy.of(job.settings, allow_many), utc_now())
        going = [d for d in decisions if not d.keep]
        result = {
            "changed": bool(going),
            "database": job.database,
            "kept": [_line(d) for d in decisions if d.keep],
            "deleted": [_line(d) for d in going],
            "waiting": sum(d.backup.waits_for_adoption for d in decisions),
            "findings": [],
        }
        if going and not job.check:
            for decision in reversed(
                going
            ):  # the oldest first: cut short, the newer ones are still there
                remove(job.store, decision)
                job.progress.step(
                    f"{job.database}: deleted {decision.backup.name}: {decision.reason}"
                )
            result["findings"] += journal.record(
                job.store,
                catalog.layout,
                utc_now(),
                "prune",
                {"database": job.database, "deleted": result["deleted"]},
            )
            result["findings"] += state.count(
                job.settings, "pruned", job.database, number=len(going)
            )
        leftovers = catalog.leftovers()
        if leftovers and not job.check:
            job.store.delete(leftovers)
            job.progress.step(
                f"{job.database}: deleted {len(leftovers)} leftovers of a prune that was cut short"
            )
        newest = newest_good(backups)
        outdated = prune_replaced(job, newest.taken_at if newest else None)
        result["findings"] += outdated.pop("findings")
        result |= outdated
        result["changed"] = bool(going or leftovers or result["replaced_deleted"])
    spared = sum(d.reason.startswith("spared") for d in decisions)
    if spared:
        message = f"{spared} more backups are past their time; no more than half go in one run: postgres-backup prune --allow-many"
        result["findings"].append(finding("PRUNE_HELD_BACK", message))
    if result["waiting"]:
        message = f"{result['waiting']} backups without a manifest wait for `postgres-backup adopt`; until then they stay"
        result["findings"].append(finding("WAITING_FOR_ADOPTION", message))
    job.progress.step(
        f"{job.database}: kept {len(result['kept'])} backups, {'would delete' if job.check else 'deleted'} {len(going)}"
    )
    return result | {"seconds": round(time.monotonic() - began, 1)}


def _line(decision: Decision) -> dict:
    return {"backup": str(decision.backup.name), "reason": decision.reason}


def remove(store: Store, decision: Decision) -> None:
    """One backup and what belongs to it.

    The manifest goes last: cut short, the next run still knows whose the rest is
    (``Catalog.leftovers``).
    """
    backup = decision.backup
    layout: Layout = backup.layout
    keys = [backup.key]
    if (backup.manifest or {}).get("globals"):
        # by its place, not by the key in the manifest, which still names the old place after a
        # bucket was copied elsewhere
        keys.append(layout.globals(backup.name))
    store.delete(keys)
    store.delete([layout.manifest(backup.name)])


def lines(result: dict, check: bool = False) -> list[str]:
    """:func:`prune_backups` for a person; the first line is what the log ends with.

    :param check: nothing was deleted.
    """
    delete, drop = ("would delete", "would drop") if check else ("deleted", "dropped")
    return [
        (
            f"{result['database']}: kept {len(result['kept'])} backups, "
            f"{delete} {len(result['deleted'])}"
        ),
        *(f"{delete}  {one['backup']}  {one['reason']}" for one in result["deleted"]),
        *(f"kept     {one['backup']}  {one['reason']}" for one in result["kept"]),
        *(
            f"{drop}  database {one['database']}  {one['reason']}"
            for one in result["replaced_deleted"]
        ),
        *(
            f"kept     database {one['database']}  {one['reason']}"
            for one in result["replaced_kept"]
        ),
        *(one["message"] for one in result["findings"]),
    ]
