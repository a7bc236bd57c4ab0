"""A copy of a backup made beside a live database, or on another server, looked at, and removed
again. Nothing is raised for what is found: it is what a drill is for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypedDict

from ..errors import DatabaseError, LockedError, PostgresBackupError, UsageError
from ..findings import finding
from ..job import Job
from ..machine import lock
from ..postgresql.connection import connect
from ..restore.plan import Plan
from ..restore.preflight import make_plan
from ..restore.side_database import (
    Loaded,
    discard_side_database,
    discarded_on_failure,
    load_side_database,
)
from . import gentle, queries
from .inside import look_inside
from .lent_roles import lent_roles
from .levels import DrillFinding, judged, stops
from .timed import Timed

#: checks that a plan, and a load, have made when they have ended well
_BY_PLAN, _BY_LOAD = ("signature", "server"), ("whole", "load", "rows", "content", "schema")


class Copied(TypedDict):
    """What came of a copy.

    ``made``: the checks that were made to their end. ``rows``: None where none stood;
    ``restored``: one stood. ``phases``: seconds of each, pauses included; ``restore_seconds``: what
    a restore would take up to its swap, None where that was not measured.
    """

    key: str
    findings: list[DrillFinding]
    made: list[str]
    answers: list[queries.Answered]
    rows: int | None
    restored: bool
    phases: dict[str, float]
    restore_seconds: float | None


def rate_of(job: Job, fast: bool) -> float:
    """Bytes a second that a drill moves at most; 0: no bound."""
    return 0.0 if fast else job.settings.drill_mb_per_second * 1e6


def copy(
    job: Job, asked: str, rate: float, wanted: Sequence[queries.Query], elsewhere: bool = False
) -> Copied:
    """Restore a backup into a side database, look at it, and remove it. In check mode nothing is
    loaded: what stands in its way is found all the same.

    :param asked: a name as listed, ``latest``, or a whole key.
    :param rate: bytes a second at most; 0: no bound.
    :param elsewhere: the server of the job is not the one that the backup is of, so the roles that
        it lacks are made for as long as the copy stands.
    :raises UsageError: there is no such backup, or what is asked for makes no sense.
    """
    one = _Copy(job, asked, rate, wanted, elsewhere)
    try:
        one.go()
    except PostgresBackupError as error:
        if isinstance(error, UsageError) and not error.findings:
            raise
        one.stop(error)
    return one.result()


class _Copy:
    def __init__(
        self, job: Job, asked: str, rate: float, wanted: Sequence[queries.Query], elsewhere: bool
    ) -> None:
        self.timed = Timed(job.progress)
        self.job = dataclasses.replace(job, progress=self.timed)
        self.asked, self.rate, self.wanted, self.elsewhere = asked, rate, wanted, elsewhere
        self._findings: list[DrillFinding] = []
        self._made: list[str] = []
        self._answers: list[queries.Answered] = []
        self._key, self._restored = "", False
        self._rows: int | None = None
        self._restore_seconds: float | None = None

    def go(self) -> None:
        plan = self._plan()
        if self.job.check or (plan.missing_roles and not self.elsewhere):
            return
        if self.elsewhere:
            with lent_roles(self.job, plan.missing_roles):
                self._load_and_look(plan)
        else:
            self._load_and_look(plan)

    def _plan(self) -> Plan:
        plan = make_plan(self.job, self.asked)
        self._key = plan.backup.key
        self._findings += [
            judged(found)
            for found in plan.describe()["findings"]
            if not (self.elsewhere and found["code"] == "FOREIGN_BACKUP")  # it is meant to be
        ]
        gentle.require_room(gentle.look(self.job, plan.wanted.tablespace), plan.free_bytes)
        self._made += _BY_PLAN
        if plan.missing_roles and not self.elsewhere:
            names = ", ".join(plan.missing_roles)
            told = f"the server lacks the roles {names}; a restore makes them, a drill does not"
            self._findings.append(judged(finding("ROLE_ABSENT", told)))
        else:
            self._made.append("roles")
        return plan

    def _load_and_look(self, plan: Plan) -> None:
        pace = gentle.pace_of(self.job, plan, self.rate)
        job = dataclasses.replace(self.job, pace=pace)
        loaded = load_side_database(job, plan, drill=True)
        with discarded_on_failure(job, loaded.side_database):
            self.timed.end()
            self._take(plan, loaded)
            found, made = look_inside(job, plan, loaded.side_database)
            self._findings += found
            self._made += made
            idle = max(0.0, pace.waited - pace.hidden)
            self._restore_seconds = sum(self.timed.seconds.values()) - idle
            self._ask(job, loaded.side_database)
        discard_side_database(job, loaded.side_database)

    def _take(self, plan: Plan, loaded: Loaded) -> None:
        known = [(one["code"], one["message"]) for one in self._findings]
        self._findings += [
            judged(found)
            for found in loaded.findings
            if (found["code"], found["message"]) not in known  # the plan's are among them
            and not (self.elsewhere and found["code"] == "FOREIGN_BACKUP")
        ]
        self._made += _BY_LOAD
        self._rows, self._restored = loaded.rows, True
        if not loaded.rows and not any(f["code"] == "ROWS_NOT_COMPARED" for f in self._findings):
            self._findings.append(judged(finding("BACKUP_EMPTY", f"{plan.name} has no rows")))

    def _ask(self, job: Job, side: str) -> None:
        if not self.wanted:
            return
        self.job.progress.phase(f"asking {side} {len(self.wanted)} queries")
        with connect(job.settings, side) as connection:
            self._answers = queries.ask(connection, self.wanted)
        for check, found in queries.findings_of(self._answers):
            self._findings.append(judged(found, check))
        self._made += [queries.check_of(query["name"]) for query in self.wanted]

    def stop(self, error: PostgresBackupError) -> None:
        """What ended it early."""
        message = f"{error.message}. {error.hint}" if error.hint else error.message
        found = error.findings
        if isinstance(error, DatabaseError) and self._gives_way():
            found = [finding("DRILL_GAVE_WAY", f"a restore is under way: {error.message}")]
        self._findings += [stops(one) for one in found or [finding("DRILL_BROKEN_OFF", message)]]

    def _gives_way(self) -> bool:
        """Whether a restore of this database is under way."""
        try:
            with lock.hold(self.job.settings, self.job.database, "drill"):
                return False
        except LockedError as held:
            return "restore" in held.message

    def result(self) -> Copied:
        self.timed.end()
        return {
            "key": self._key,
            "findings": self._findings,
            "made": self._made,
            "answers": self._answers,
            "rows": self._rows,
            "restored": self._restored,
            "phases": {name: round(took, 1) for name, took in self.timed.seconds.items()},
            "restore_seconds": self._restore_seconds,
        }
