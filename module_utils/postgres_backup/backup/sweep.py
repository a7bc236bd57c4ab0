"""What a backup or a kit that came to nothing has begun is removed: at once by itself, or by the
next run where it was killed, or where the store refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..catalog import begun
from ..catalog.begun import Begun
from ..errors import PostgresBackupError, in_words
from ..findings import Finding, finding
from ..job import Job
from ..machine import signals, state
from ..s3 import calls
from ..s3.errors import may_fail
from ..s3.store import HASTY, Store

#: hours after which an unfinished upload under our prefix cannot be anybody's work any more
STALE_UPLOAD_HOURS = 24
#: findings that tell of something that is still there
_STAYS = {"LEFT_BEHIND", "UPLOAD_NOT_ABORTED"}


def sweep(job: Job, database: str, root: str) -> list[Finding]:
    """Remove what earlier runs have left. The lock is held: none of them is at work.

    :param database: whose runs; empty: those of the kit.
    :param root: where their objects lie.
    :return: findings, code LEFTOVERS; what the store refused is among the store's.
    """
    who, store = database or "kit", job.store
    state.sweep(job.settings)
    swept = store.sweep_uploads(root, STALE_UPLOAD_HOURS)
    if swept:
        job.progress.step(f"{who}: removed {swept} unfinished uploads of earlier runs")
    findings: list[Finding] = []
    for one in begun.left(job.settings, database):
        refused: list[Finding] = []
        with may_fail(refused):
            findings += _remove(store, one)
        store.refused.extend(refused)
        if not refused:
            findings += begun.ended(job.settings, database, one["key"])
    for told in findings:
        job.progress.step(f"{who}: {told['code']}: {told['message']}")
    return findings


def _remove(store: Store, one: Begun) -> list[Finding]:
    if store.head(one["manifest"], calls.SEE_LEFT):
        return []  # it was killed after its work
    name = one["key"].rpartition("/")[2]
    there = store.head(one["key"], calls.SEE_LEFT)
    if not one["alone"]:
        told = f"{name} has no manifest, and another server may be writing it: look at it, and "
        return [finding("LEFTOVERS", f"{told}delete it by hand")] if there else []
    parts = store.abort_uploads(one["key"])
    store.delete([one["key"], *one["beside"]] if there else one["beside"], calls.SWEEP_LEFT)
    if not there and not parts:
        return []
    what = " and ".join(
        [*(["the object"] if there else []), *([f"{parts} unfinished uploads"] if parts else [])]
    )
    told = f"removed what a run that did not end had left of {name}: {what}"
    return [finding("LEFTOVERS", told)]


def take_back(
    job: Job, database: str, failed: BaseException, written: Sequence[str], key: str
) -> None:
    """Delete what a run that failed has already written. What the store keeps all the same is told
    with the error, and removed by the next run.

    :param database: whose; empty: it is the kit.
    :param failed: what ended it.
    :param written: the keys.
    :param key: of what was begun; empty where nothing was.
    :raises PostgresBackupError: ``failed`` in words, which can hold what is told, where it was none
        of ours.
    """
    error = in_words(failed) if isinstance(failed, Exception) else failed
    store = Store(job.settings, patience=HASTY)
    for one in written:
        with may_fail(store.refused):
            store.delete([one], calls.TAKE_BACK)
    told = job.store.take_refused() + store.refused
    if isinstance(error, (PostgresBackupError, signals.Interrupted)):
        error.findings += told
        told = error.findings
    if key and not any(one["code"] in _STAYS for one in told):
        begun.ended(job.settings, database, key)
    if error is not failed:
        raise error from failed
