"""What the store can do, known before it is needed: every row tried on canaries, several at a time,
and remembered until the store's settings change.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypedDict

from ..errors import StoreError, UnfitStoreError
from ..findings import Finding, finding
from ..machine.progress import Progress
from ..s3 import known, probe, probe_bucket, probe_objects, probe_promises
from ..s3.canaries import Left, Probing
from ..s3.errors import CallFailed, Refused, Stopped
from ..s3.probe import KINDS, Outcome, Row, row_of
from ..settings import Settings
from ..text import human_seconds

#: seconds after which what is not known yet stays so
_ENOUGH = 8.0
#: rows that are tried at the same time: enough to hide a store's latency
_AT_ONCE = 6
_TRIES = {**probe_objects.TRIES, **probe_promises.TRIES, **probe_bucket.TRIES}
#: as the column of the table has them
_WORDS = {
    "works": "works",
    "lacks": "does not",
    "ignores": "does not, and says it does",
    "warns": "beware",
    "untried": "not known",
}


class StoreCheck(TypedDict):
    """What :func:`check_store` has found.

    ``fit``: backups can live there; None where nothing was tried. ``remembered``: it was tried
    before, with the same settings, and nothing was tried now. ``left``: keys of canaries that could
    not be taken away.
    """

    changed: bool
    endpoint: str
    bucket: str
    fit: bool | None
    remembered: bool
    rows: list[Row]
    left: list[str]
    seconds: float
    findings: list[Finding]


def check_store(
    settings: Settings, progress: Progress, only_new: bool = False, check: bool = False
) -> StoreCheck:
    """Try each row.

    :param only_new: only where no store of these settings was found fit before.
    :param check: write nothing, and so try nothing.
    :raises StoreError: the store does not answer, or refuses the key, or no longer answers.
    """
    if only_new and known.is_known(settings):
        return _answer(settings, True, [], Left(), 0.0, remembered=True)
    if check:
        return _answer(settings, None, [], Left(), 0.0)
    began = time.monotonic()
    probing = Probing(settings)
    probing.reach()
    progress.step(f"Trying what the store at {settings.s3_endpoint_url} can do, on canaries")
    rows, silent = _tried(probing)
    try:
        left = probing.clean()
    except StoreError as error:
        silent, left = silent or error, Left([probing.folder])
    if silent is not None and not any(row["unfit"] for row in rows):
        silent.findings += _left(left)
        raise silent
    found = _answer(
        settings, not any(row["unfit"] for row in rows), rows, left, time.monotonic() - began
    )
    sure = all(row["state"] != "untried" for row in rows if KINDS[row["row"]].needed)
    if found["fit"] and sure:
        found["findings"] += known.remember(settings)
    return found


def lines(result: StoreCheck) -> list[str]:
    """The table for a person, and what it comes to."""
    where = f"{result['endpoint']}, bucket {result['bucket']}"
    if result["remembered"]:
        return [f"{where}: tried before, and fit for backups"]
    if result["fit"] is None:
        return [f"{where}: {len(KINDS)} things would be tried on canaries"]
    told = []
    for row in result["rows"]:
        told.append(f"{_WORDS[row['state']]:<26}  {row['does']}")
        said = [row["said"]] if row["said"] else []
        if row["lost"]:
            said += [f"what falls away: {row['lost']}", f"to do: {row['todo']}"]
        told += [f"{'':<28}{one}" for one in said]
    told += [f"{one['code']}: {one['message']}" for one in result["findings"]]
    verdict = "fit for backups" if result["fit"] else "NOT FIT for backups"
    return [*told, f"{where}: {verdict} ({human_seconds(result['seconds'])})"]


def require_fit(result: StoreCheck) -> None:
    """For whoever can fail only with an error.

    :raises UnfitStoreError: the rows without which there are no backups.
    """
    if result["fit"] is False:
        bad = [row for row in result["rows"] if row["unfit"]]
        raise UnfitStoreError(
            f"Failed to find the store at {result['endpoint']} fit for backups: "
            + "; ".join(_sentence(row) for row in bad),
            "; ".join(dict.fromkeys(row["todo"] for row in bad)),
            result["findings"],
        )


def _sentence(row: Row) -> str:
    told = f"it does not {row['does']}"
    return f"{told} ({row['said']})" if row["said"] else told


def _tried(probing: Probing) -> tuple[list[Row], StoreError | None]:
    """Each row, and the error where the store fell silent in a row that backups need."""
    pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="store-check")
    try:
        trying: dict[str, Future[Outcome]] = {
            name: pool.submit(_TRIES[name], probing) for name in sorted(KINDS, key=_slow_first)
        }
        wait(trying.values(), timeout=_ENOUGH)
    finally:
        probing.stop()
        pool.shutdown(cancel_futures=True)
    rows: list[Row] = []
    silent: StoreError | None = None
    for name in KINDS:
        outcome, error = _outcome(trying[name])
        if error is not None and KINDS[name].needed:
            silent = silent or error
        rows.append(row_of(name, outcome))
    return rows, silent


def _slow_first(name: str) -> int:
    slow = ("lock", "multipart")
    return slow.index(name) if name in slow else len(slow)


def _outcome(trying: Future[Outcome]) -> tuple[Outcome, CallFailed | None]:
    if not trying.done() or trying.cancelled():
        return Outcome("untried", "the store was too slow"), None
    error = trying.exception()
    if error is None:
        return trying.result(), None
    if isinstance(error, Refused) and not error.passes:
        return probe.refused(error), None
    if isinstance(error, Stopped):
        return Outcome("untried", "the store was too slow"), None
    if isinstance(error, CallFailed) and not error.passes:
        return Outcome("lacks", "it answers, but not as S3 does"), None
    if isinstance(error, CallFailed):
        return Outcome("untried", error.message), error
    raise error


def _answer(
    settings: Settings,
    fit: bool | None,
    rows: Sequence[Row],
    left: Left,
    seconds: float,
    remembered: bool = False,
) -> StoreCheck:
    unfit = [_sentence(row) for row in rows if row["unfit"]]
    findings = [finding("STORE_UNFIT", one) for one in unfit] + _left(left)
    return {
        "changed": False,
        "endpoint": settings.s3_endpoint_url,
        "bucket": settings.s3_bucket,
        "fit": fit,
        "remembered": remembered,
        "rows": list(rows),
        "left": list(left.keys),
        "seconds": round(seconds, 1),
        "findings": findings,
    }


def _left(left: Left) -> list[Finding]:
    told = [
        f"{key} could not be taken away again; the next look writes over it" for key in left.keys
    ]
    told += [f"an unfinished upload of {key} could not be aborted" for key in left.uploads]
    return [finding("CANARY_LEFT", one) for one in told]
