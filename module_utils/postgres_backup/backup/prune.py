"""Remove what the retention lets go."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from datetime import datetime
from typing import TypedDict

from ..catalog import journal, numbers, partials, remembered, signed
from ..catalog.backups import Backup, Catalog, layout_for, newest_good
from ..catalog.names import Layout
from ..catalog.retention import Decision, Policy, plan, plan_parts
from ..clock import utc_now
from ..errors import UsageError
from ..findings import Finding, finding
from ..health import outcome, rows_gone
from ..job import Job
from ..machine import counters, lock
from ..postgresql.own import own_mark
from ..s3.clock_skew import require_honest_clock
from ..settings import Settings
from . import old_events, second_kind
from .old_events import OldEvents
from .prune_recovered import prune_recovered
from .prune_replaced import ReplacedLine, prune_replaced
from .removal import remove_each


class PrunedLine(TypedDict):
    backup: str
    reason: str


class Pruned(TypedDict):
    """What stays and what went (or would go), each with the reason; ``waiting`` counts what waits
    for ``adopt``; ``partial_...`` list parts of backups, ``recovered_...`` dumps of recovered
    clusters, ``replaced_...`` databases that restores have replaced, and copies; ``events_deleted``
    counts events of the journal past their time;
    ``every_second`` says what there is of the other kind of backup.
    """

    changed: bool
    database: str
    kept: list[PrunedLine]
    deleted: list[PrunedLine]
    waiting: int
    partial_kept: list[PrunedLine]
    partial_deleted: list[PrunedLine]
    recovered_kept: list[PrunedLine]
    recovered_deleted: list[PrunedLine]
    replaced_kept: list[ReplacedLine]
    replaced_deleted: list[ReplacedLine]
    events_deleted: int
    every_second: list[str]
    findings: list[Finding]
    seconds: float


def prune_backups(job: Job, allow_many: bool = False) -> Pruned:
    """Delete the backups of one database that the policy no longer keeps, each with its manifest,
    globals and proofs; parts of backups and dumps of recovered clusters of the same age; proofs
    that newer ones make needless; and databases replaced long ago.

    :param allow_many: let this run delete more than half.
    :raises UsageError: the settings do not say what goes; nothing is deleted.
    :raises PostgresBackupError: the clocks disagree, or the store refuses; nothing more is deleted.
    """
    began = time.monotonic()
    require_retention(job.settings)
    with (
        outcome.noted(job.settings, "prune", job.database, check=job.check, again=job.again),
        lock.hold(job.settings, job.database, "prune"),
    ):
        job.store.check()
        require_honest_clock(job.store)
        own = own_mark(job.settings, job.database)
        found = _look(job, Catalog(job.settings, job.store, job.database, own), allow_many)
        findings = _remove_found(job, found)
        past = prune_recovered(
            job,
            own,
            found.policy,
            found.now,
            found.newest.dated_at if found.newest else None,
            lambda old: _remove_each(job, old, "the recovered "),
        )
        events = _old_events(job, found.catalog.layout, found.now)
        if not job.check and (found.going or found.parts_going or past.going or events):
            decisions = [*found.decisions, *found.parts, *past.decisions]
            findings += _note(job, found.catalog.layout, decisions, events)
        tidied = _tidy(job, found)
        databases = prune_replaced(job, found.newest.taken_at if found.newest else None)
    findings += past.findings + databases.findings + _advice(found.decisions)
    kept, going = [d for d in found.decisions if d.keep], found.going
    done = "would delete" if job.check else "deleted"
    job.progress.step(f"{job.database}: kept {len(kept)} backups, {done} {len(going)}")
    return {
        "changed": bool(
            going or found.parts_going or past.changed or tidied or databases.deleted or events
        ),
        "database": job.database,
        "kept": [_line(d) for d in kept],
        "deleted": [_line(d) for d in going],
        "waiting": _waiting(found.decisions),
        "partial_kept": [_line(d) for d in found.parts if d.keep],
        "partial_deleted": [_line(d) for d in found.parts_going],
        "recovered_kept": [_line(d) for d in past.decisions if d.keep],
        "recovered_deleted": [_line(d) for d in past.going],
        "replaced_kept": databases.kept,
        "replaced_deleted": databases.deleted,
        "events_deleted": sum(len(old.keys) for old in events),
        "every_second": second_kind.told(job, past.decisions),
        "findings": findings,
        "seconds": round(time.monotonic() - began, 1),
    }


@dataclasses.dataclass(frozen=True)
class _Found:
    """What there is of one database, and what the policy makes of it, newest first.

    :ivar newest: the newest good backup; None where there is none.
    """

    now: datetime
    policy: Policy
    catalog: Catalog
    newest: Backup | None
    decisions: Sequence[Decision[Backup]]
    parts: Sequence[Decision[Backup]]
    seen_parts: partials.Partials

    @property
    def going(self) -> list[Decision[Backup]]:
        return [d for d in self.decisions if not d.keep]

    @property
    def parts_going(self) -> list[Decision[Backup]]:
        return [d for d in self.parts if not d.keep]


def _look(job: Job, catalog: Catalog, allow_many: bool) -> _Found:
    backups, now = catalog.backups(), utc_now()
    held = rows_gone.holding(job.settings.server_name, job.database, backups, now)
    policy, newest = Policy.of(job.settings, allow_many), newest_good(backups)
    decisions, seen = plan(backups, policy, now, held), partials.look(catalog, backups)
    dated = newest.dated_at if newest else None
    parts = plan_parts(seen.parts, policy, now, dated, lambda part: part.held)
    return _Found(now, policy, catalog, newest, decisions, parts, seen)


def _remove_found(job: Job, found: _Found) -> list[Finding]:
    """Backups and parts that are past their time; nothing in check mode."""
    findings: list[Finding] = []
    if job.check:
        return findings
    if going := found.going:
        manifests = [d.backup.layout.manifest(d.backup.name) for d in going]
        findings += remembered.forget(job.settings, job.database, manifests)
        # the oldest first: cut short, the newer ones are still there
        _remove_each(job, going, "")
        findings += counters.removed(job.settings, job.database, len(going))
    if found.parts_going:
        _remove_each(job, found.parts_going, "the part ")
    return findings


def _tidy(job: Job, found: _Found) -> bool:
    """Delete what nobody needs beside the backups that stay: old proofs, and what a prune that was
    cut short has left. In check mode nothing.

    :returns: whether there is any of it.
    """
    stay = [d.backup for d in found.decisions if d.keep and d.backup.ours]
    proofs = [key for backup in stay for key in backup.old_proofs]
    if proofs and not job.check:
        signed.delete(job.store, proofs)
        job.progress.step(f"{job.database}: deleted {len(proofs)} proofs with newer ones")
    left = found.catalog.leftovers() + partials.leftovers(found.catalog, found.seen_parts)
    if left and not job.check:
        job.store.delete(left)
        job.progress.step(
            f"{job.database}: deleted {len(left)} leftovers of a prune that was cut short"
        )
    return bool(proofs or left)


def _old_events(job: Job, layout: Layout, now: datetime) -> list[OldEvents]:
    """Events that are past their time, of each journal that has some: the database's, and the
    server's, for which the first database sees to it.
    """
    of_server, settings = layout_for(job.settings, ""), job.settings
    layouts = [layout, *([of_server] if settings.databases[0] == job.database else [])]
    found = [
        old_events.find(job.store, one, settings.journal_days, now)
        for one in dict.fromkeys(layouts)
    ]
    return [one for one in found if one.keys]


def _note(
    job: Job, layout: Layout, decisions: Sequence[Decision[Backup]], events: Sequence[OldEvents]
) -> list[Finding]:
    """The plan into the journal; from then on it is known where its numbers begin, and what is
    older goes.
    """
    for old in events:
        numbers.begin_at(job.settings, old.layout, old.begins)
    deleted = sum(len(old.keys) for old in events)
    told = {
        "database": job.database,
        "deleted": [_line(d) for d in decisions if not d.keep],
        "kept": [_line(d) for d in decisions if d.keep],
        "events_deleted": deleted,
    }
    findings: list[Finding] = []
    for place in dict.fromkeys([layout, *(old.layout for old in events)]):
        findings += journal.record(job.store, place, utc_now(), "prune", told)
    if findings:  # the next prune tries again
        return findings
    for old in events:
        signed.delete(job.store, old.keys)
    if deleted:
        days = job.settings.journal_days
        job.progress.step(f"{job.database}: deleted {deleted} events older than {days} days")
    return findings


def require_retention(settings: Settings) -> None:
    """:raises UsageError: the settings do not say what goes."""
    if fault := settings.retention_fault:
        raise UsageError(
            f"Nothing is pruned: {fault}",
            "Put it right in group_vars/all.yml, and run `ansible-playbook setup.yml`; until then "
            "all backups stay",
            [finding("RETENTION_WRONG", fault)],
        )


def _waiting(decisions: Sequence[Decision[Backup]]) -> int:
    return sum(d.backup.waits_for_adoption for d in decisions)


def _advice(decisions: Sequence[Decision[Backup]]) -> list[Finding]:
    """What a person may do about backups that stay although they are past their time, or that
    nobody owns.
    """
    findings = []
    if spared := sum(d.reason.startswith("spared") for d in decisions):
        message = (
            f"{spared} more backups are past their time; no more than half go in one run: "
            "postgres-backup prune --allow-many"
        )
        findings.append(finding("PRUNE_HELD_BACK", message))
    if waiting := _waiting(decisions):
        message = (
            f"{waiting} backups without a manifest stay: `postgres-backup adopt` takes them over, "
            "or says why not"
        )
        findings.append(finding("WAITING_FOR_ADOPTION", message))
    return findings


def _line(decision: Decision[Backup]) -> PrunedLine:
    return {"backup": str(decision.backup.name), "reason": decision.reason}


def _remove_each(job: Job, going: Sequence[Decision[Backup]], what: str) -> None:
    def tell(gone: Decision[Backup]) -> None:
        told = f"{gone.backup.name}: {gone.reason}"
        job.progress.step(f"{job.database}: deleted {what}{told}")

    remove_each(job.store, going, tell)


def lines(result: Pruned, check: bool = False) -> list[str]:
    """:func:`prune_backups` for a person; the first line is what the log ends with.

    :param check: nothing was deleted.
    """
    delete, drop = ("would delete", "would drop") if check else ("deleted", "dropped")
    return [
        (
            f"{result['database']}: kept {len(result['kept'])} backups, "
            f"{delete} {len(result['deleted'])}"
        ),
        *(f"{delete}  {line['backup']}  {line['reason']}" for line in result["deleted"]),
        *(f"kept     {line['backup']}  {line['reason']}" for line in result["kept"]),
        *(
            f"{delete}  part {line['backup']}  {line['reason']}"
            for line in result["partial_deleted"]
        ),
        *(f"kept     part {line['backup']}  {line['reason']}" for line in result["partial_kept"]),
        *(
            f"{delete}  recovered {line['backup']}  {line['reason']}"
            for line in result["recovered_deleted"]
        ),
        *(
            f"kept     recovered {line['backup']}  {line['reason']}"
            for line in result["recovered_kept"]
        ),
        *(
            f"{drop}  database {line['database']}  {line['reason']}"
            for line in result["replaced_deleted"]
        ),
        *(
            f"kept     database {line['database']}  {line['reason']}"
            for line in result["replaced_kept"]
        ),
        *result["every_second"],
        *(line["message"] for line in result["findings"]),
    ]
