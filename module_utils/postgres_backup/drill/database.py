"""The way back, as a routine: a backup restored beside the live database, compared, measured, and
removed again. The live database is not touched, and nothing in it is locked.

A drill does not hold the lock that backups and restores hold: the nightly backup must not wait for
it. It has one of its own, and stands aside for every restore of the same database, which removes
its copy.
"""

from __future__ import annotations

import dataclasses
import time

from ..catalog.backups import Backup, Catalog
from ..errors import DatabaseError, LockedError, PostgresBackupError, UsageError
from ..findings import finding
from ..health import outcome, ping
from ..job import Job
from ..machine import lock
from ..postgresql.connection import connect
from ..postgresql.own import own_mark
from ..restore.plan import Plan
from ..restore.preflight import make_plan
from ..restore.side_database import (
    Loaded,
    discard_side_database,
    discarded_on_failure,
    load_side_database,
)
from . import estimate, gentle, junit, queries, record
from .earlier import hold_against_others
from .inside import look_inside
from .kit import look_at_kit
from .levels import CHECKS, LEVELS, DrillFinding, Level, at_or_above, checks_of, judged, stops
from .live import look_at_live
from .result import DrillResult, lines
from .timed import Timed

#: checks that a plan, and a load, have made when they have ended well
_BY_PLAN, _BY_LOAD = ("signature", "server"), ("whole", "load", "rows", "content", "schema")


def drill_database(
    job: Job,
    backup: str = "latest",
    fast: bool = False,
    fail_on: Level = "failed",
    junit_file: str = "",
) -> DrillResult:
    """Restore a backup beside the live database, see whether it is what it should be, and remove
    it. In check mode nothing is loaded: what stands in its way is found all the same.

    :param backup: a name as listed, or ``latest``.
    :param fast: at the full speed of a restore.
    :param fail_on: the least grave level at which it has not passed.
    :param junit_file: gets the checks as JUnit has them; empty: nowhere.
    :raises UsageError: there is no such backup, or what is asked for makes no sense.
    :raises LockedError: another drill of this database is under way.
    """
    if fail_on not in LEVELS:
        raise UsageError(f"{fail_on!r} is no level", f"One of {', '.join(LEVELS)}")
    if junit_file:
        junit.require_writable(junit_file)
    asked = queries.parsed(job.settings.drill_queries)
    job.require()
    if job.check:
        result = _Drill(job, backup, fast, fail_on, asked).go()
    else:
        with (
            lock.hold(job.settings, f"the drill of {job.database}", "drill"),
            ping.watched(job.settings, "drill_ping_url") as sign,
            outcome.noted(job.settings, "drill", job.database, {"backup": backup}, ends=False),
        ):
            drill = _Drill(job, backup, fast, fail_on, asked)
            result = drill.go()
            untold = record.note(job, result, drill.restored)
            result["findings"] += [judged(found) for found in untold]
            sign.failed, sign.body = not result["passed"], "\n".join(lines(result))
        result["findings"] += [judged(found) for found in sign.findings]
        job.progress.step(lines(result)[0])
    if junit_file:
        suite = f"{job.settings.server_name}.{job.database}.{result['backup']}"
        failing = LEVELS[: LEVELS.index(fail_on) + 1]
        junit.write(junit_file, junit.text_of(suite, result["checks"], failing, result["seconds"]))
    return result


class _Drill:
    """One drill; :attr:`restored` is the backup, once a copy of it stood."""

    def __init__(
        self, job: Job, asked: str, fast: bool, fail_on: Level, wanted: list[queries.Query]
    ) -> None:
        self.timed = Timed(job.progress)
        self.job = dataclasses.replace(job, progress=self.timed)
        self.asked, self.fast, self.fail_on, self.wanted = asked, fast, fail_on, wanted
        self.restored: Backup | None = None
        self._findings: list[DrillFinding] = []
        self._made: list[str] = []
        self._answers: list[queries.Answered] = []
        self._rows: int | None = None
        self._restore_seconds: float | None = None
        self._kit_seconds: float | None = None
        self._rebuild: estimate.Rebuild | None = None
        self._began = time.monotonic()

    def go(self) -> DrillResult:
        """All of it; what stops it is a finding."""
        own = own_mark(self.job.settings, self.job.database)
        catalog = Catalog(self.job.settings, self.job.store, self.job.database, own)
        chosen = catalog.resolve(self.asked)
        try:
            if not self.job.check:
                self._take_made(*look_at_live(self.job))
                self._look_at_kit()
            plan = self._plan()
            self._take_made(hold_against_others(self.job, catalog, plan.backup), ["size"])
            if not self.job.check and not plan.missing_roles:
                self._load_and_look(plan)
        except PostgresBackupError as error:
            if isinstance(error, UsageError) and not error.findings:
                raise
            self._stop(error)
        return self._result(chosen)

    def _look_at_kit(self) -> None:
        """Once for the server: with the first of its databases."""
        first = self.job.database == self.job.settings.databases[0]
        looked = look_at_kit(self.job, self._rate(), read=first)
        self._take_made(looked.findings, ["kit"] if looked.made else [])
        self._kit_seconds = looked.seconds
        self.timed.end()

    def _rate(self) -> float:
        """Bytes a second at most."""
        return 0.0 if self.fast else self.job.settings.drill_mb_per_second * 1e6

    def _plan(self) -> Plan:
        plan = make_plan(self.job, self.asked)
        self._findings += [judged(found) for found in plan.describe()["findings"]]
        gentle.require_room(gentle.look(self.job, plan.wanted.tablespace), plan.free_bytes)
        self._made += _BY_PLAN
        if plan.missing_roles:
            names = ", ".join(plan.missing_roles)
            told = f"the server lacks the roles {names}; a restore makes them, a drill does not"
            self._findings.append(judged(finding("ROLE_ABSENT", told)))
        else:
            self._made.append("roles")
        return plan

    def _load_and_look(self, plan: Plan) -> None:
        pace = gentle.pace_of(self.job, plan, self._rate())
        job = dataclasses.replace(self.job, pace=pace)
        loaded = load_side_database(job, plan, drill=True)
        with discarded_on_failure(job, loaded.side_database):
            self.timed.end()
            self._take(plan, loaded)
            self._take_made(*look_inside(job, plan, loaded.side_database))
            self._measure(plan, pace.waited)
            self._ask(job, loaded.side_database)
        discard_side_database(job, loaded.side_database)

    def _take(self, plan: Plan, loaded: Loaded) -> None:
        known = [(one["code"], one["message"]) for one in self._findings]
        self._findings += [
            judged(found)
            for found in loaded.findings
            if (found["code"], found["message"]) not in known  # the plan's are among them
        ]
        self._made += _BY_LOAD
        self._rows, self.restored = loaded.rows, plan.backup
        if not loaded.rows and not any(f["code"] == "ROWS_NOT_COMPARED" for f in self._findings):
            self._findings.append(judged(finding("BACKUP_EMPTY", f"{plan.name} has no rows")))

    def _take_made(self, found: list[DrillFinding], made: list[str]) -> None:
        self._findings += found
        self._made += made

    def _ask(self, job: Job, side: str) -> None:
        if not self.wanted:
            return
        self.job.progress.phase(f"asking {side} {len(self.wanted)} queries")
        with connect(job.settings, side) as connection:
            self._answers = queries.ask(connection, self.wanted)
        for check, found in queries.findings_of(self._answers):
            self._findings.append(judged(found, check))
        self._made += [queries.check_of(query["name"]) for query in self.wanted]

    def _measure(self, plan: Plan, waited: float) -> None:
        """:param waited: seconds of pauses that a restore does not make."""
        took = {part: seconds for part, seconds in self.timed.seconds.items() if part != "kit"}
        self._restore_seconds = sum(took.values()) - waited
        known = plan.backup.manifest
        self._rebuild, found = estimate.estimate(
            self.job,
            {
                "seconds": self._restore_seconds,
                "dump_bytes": known["dump_bytes"] if known else 0,
            },
            self._kit_seconds,
            has_kit="kit" in self._made,
        )
        self._take_made([judged(one) for one in found], ["time"])

    def _stop(self, error: PostgresBackupError) -> None:
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

    def _absent(self) -> list[str]:
        """Checks that there are none of here."""
        absent = [] if self.job.settings.drill_rto_minutes else ["time"]
        return absent + [name for name in ("amcheck", "kit") if name not in self._made]

    def _result(self, chosen: Backup) -> DrillResult:
        others = [queries.check_of(query["name"]) for query in self.wanted]
        names = [name for name in (*CHECKS, *others) if name not in self._absent()]
        left = [name for name in names if name not in self._made]
        if left and not self.job.check:
            told = f"the drill ended before it came to them: {', '.join(left)}"
            self._findings.append(judged(finding("NOT_CHECKED", told), "none"))
        self._findings.sort(key=lambda found: LEVELS.index(found["level"]))
        checks = checks_of(self._findings, self._made, names)
        self.timed.end()
        return {
            "changed": not self.job.check,
            "backup": str(chosen.name),
            "database": self.job.database,
            "key": chosen.key,
            "bytes": chosen.bytes,
            "rows": self._rows,
            "seconds": round(time.monotonic() - self._began, 1),
            "phases": {name: round(took, 1) for name, took in self.timed.seconds.items()},
            "restore_seconds": self._restore_seconds,
            "rebuild": self._rebuild,
            "checks": checks,
            "queries": self._answers,
            "findings": self._findings,
            "fail_on": self.fail_on,
            "passed": not at_or_above(self._findings, self.fail_on),
        }
