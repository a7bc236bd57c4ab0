"""Remove the dumps that were taken out of recovered clusters, once they are past their time.

They lie apart (:mod:`..catalog.recovered`) and are of a past that is over: the restore that each
was taken for needs it no more, and neither does its undo. So they stay for the same days as backups
do, and for nothing else, the newest like any other; as with the parts of backups, which are as
little of the nights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from datetime import datetime

from ..catalog import recovered
from ..catalog.backups import Backup, Catalog
from ..catalog.retention import Decision, Policy, plan_parts
from ..errors import StoreError
from ..findings import Finding, finding
from ..health import recovered_dumps
from ..job import Job
from ..machine.identity import Mark


@dataclasses.dataclass
class PrunedRecovered:
    """:param changed: something was deleted, or would be."""

    decisions: list[Decision[Backup]] = dataclasses.field(default_factory=list)
    changed: bool = False
    findings: list[Finding] = dataclasses.field(default_factory=list)

    @property
    def going(self) -> list[Decision[Backup]]:
        return [decision for decision in self.decisions if not decision.keep]


def prune_recovered(
    job: Job,
    own: Mark,
    policy: Policy,
    now: datetime,
    newest_good: datetime | None,
    remove_each: Callable[[Sequence[Decision[Backup]]], None],
) -> PrunedRecovered:
    """Delete the dumps of one recovered database that are past their time, where every second is
    kept. A store that refuses is a finding: nothing of the nights waits for it.

    :param own: as of the nightly backups: what another server has put there stays.
    :param newest_good: when the newest good nightly backup was taken, without which nothing goes;
        None where there is none.
    :param remove_each: deletes what it is given, newest first.
    """
    done = PrunedRecovered()
    if not job.settings.pitr:
        return done
    catalog = Catalog(recovered.place(job.settings), job.store, job.database, own)
    try:
        done.decisions = plan_parts(catalog.backups(), policy, now, newest_good, _held)
        leftovers = catalog.leftovers()
        done.changed = bool(done.going or leftovers)
        if not job.check:
            remove_each(done.going)
            job.store.delete(leftovers)
    except StoreError as refused:
        stay = [decision for decision in done.decisions if decision.keep]
        what = f"{job.database}: the dumps of recovered databases stay in"
        told = f"{what} {recovered_dumps.folder(job.settings)}: {refused.message}"
        done = PrunedRecovered(stay)
        done.findings.append(finding("RECOVERED_STAY", job.settings.hide(told)))
    return done


def _held(backup: Backup) -> str:
    """Why one stays whatever its age; empty where nothing holds it."""
    if backup.held or not backup.passed_over:
        return backup.held
    return "not known to be ours: nobody vouches for it"
