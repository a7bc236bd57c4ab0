"""The way back, as a routine: a backup restored beside the live database, compared, measured, and
removed again. The live database is not touched, and nothing in it is locked.

A drill does not hold the lock that backups and restores hold: the nightly backup must not wait for
it. It has one of its own, and stands aside for every restore of the same database, which removes
its copy.
"""

from __future__ import annotations

import time

from ..catalog.backups import Backup, Catalog
from ..errors import UsageError
from ..findings import finding
from ..health import outcome, ping
from ..job import Job
from ..machine import lock
from ..postgresql.own import own_mark
from . import estimate, junit, queries, record
from .copied import Copied, copy, rate_of
from .earlier import hold_against_others
from .kit import look_at_kit
from .levels import CHECKS, LEVELS, DrillFinding, Level, at_or_above, checks_of, judged
from .live import look_at_live
from .result import DrillResult, lines


def drill_database(
    job: Job,
    backup: str = "latest",
    fast: bool = False,
    fail_on: Level = "failed",
    junit_file: str = "",
    copied: Copied | None = None,
) -> DrillResult:
    """Restore a backup beside the live database, see whether it is what it should be, and remove
    it. In check mode nothing is loaded: what stands in its way is found all the same.

    :param backup: a name as listed, or ``latest``.
    :param fast: at the full speed of a restore.
    :param fail_on: the least grave level at which it has not passed.
    :param junit_file: gets the checks as JUnit has them; empty: nowhere.
    :param copied: what came of the copy that another server has made, see :mod:`.elsewhere`.
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
        result = _Drill(job, backup, fast, fail_on, asked, copied).go()
    else:
        with (
            lock.hold(job.settings, f"the drill of {job.database}", "drill"),
            ping.watched(job.settings, "drill_ping_url") as sign,
            outcome.noted(job.settings, "drill", job.database, {"backup": backup}, ends=False),
        ):
            drill = _Drill(job, backup, fast, fail_on, asked, copied)
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
        self,
        job: Job,
        asked: str,
        fast: bool,
        fail_on: Level,
        wanted: list[queries.Query],
        copied: Copied | None,
    ) -> None:
        self.job, self.asked, self.fail_on, self.wanted = job, asked, fail_on, wanted
        self.restored: Backup | None = None
        self._rate = rate_of(job, fast)
        self._copied = copied
        self._findings: list[DrillFinding] = []
        self._made: list[str] = []
        self._kit_seconds: float | None = None
        self._rebuild: estimate.Rebuild | None = None
        self._began = time.monotonic()

    def go(self) -> DrillResult:
        """All of it; what stops it is a finding."""
        own = own_mark(self.job.settings, self.job.database)
        catalog = Catalog(self.job.settings, self.job.store, self.job.database, own)
        chosen = catalog.resolve(self.asked)
        if self._copied and self._copied["key"] not in ("", chosen.key):
            raise UsageError(
                f"What was drilled elsewhere is {self._copied['key']}, and not {chosen.key}",
                "A newer backup was taken meanwhile: type the drill again",
            )
        if not self.job.check:
            self._take(*look_at_live(self.job))
            self._look_at_kit()
        copied = self._copied or copy(self.job, self.asked, self._rate, self.wanted)
        self._take(copied["findings"], copied["made"])
        if "signature" in copied["made"]:
            self._take(hold_against_others(self.job, catalog, chosen), ["size"])
        if copied["restored"]:
            self.restored = chosen
        if copied["restore_seconds"] is not None:
            self._measure(chosen, copied["restore_seconds"])
        return self._result(chosen, copied)

    def _take(self, found: list[DrillFinding], made: list[str]) -> None:
        self._findings += found
        self._made += made

    def _look_at_kit(self) -> None:
        """Once for the server: with the first of its databases."""
        first = self.job.database == self.job.settings.databases[0]
        looked = look_at_kit(self.job, self._rate, read=first)
        self._take(looked.findings, ["kit"] if looked.made else [])
        self._kit_seconds = looked.seconds

    def _measure(self, backup: Backup, seconds: float) -> None:
        """:param seconds: that a restore takes, without pauses."""
        size = backup.manifest["dump_bytes"] if backup.manifest else 0
        self._rebuild, found = estimate.estimate(
            self.job,
            {"seconds": seconds, "dump_bytes": size},
            self._kit_seconds,
            has_kit="kit" in self._made,
        )
        self._take([judged(one) for one in found], ["time"])

    def _absent(self) -> list[str]:
        """Checks that there are none of here."""
        absent = [] if self.job.settings.drill_rto_minutes else ["time"]
        return absent + [name for name in ("amcheck", "kit") if name not in self._made]

    def _result(self, chosen: Backup, copied: Copied) -> DrillResult:
        others = [queries.check_of(query["name"]) for query in self.wanted]
        names = [name for name in (*CHECKS, *others) if name not in self._absent()]
        left = [name for name in names if name not in self._made]
        if left and not self.job.check:
            told = f"the drill ended before it came to them: {', '.join(left)}"
            self._findings.append(judged(finding("NOT_CHECKED", told), "none"))
        self._findings.sort(key=lambda found: LEVELS.index(found["level"]))
        kit = {} if self._kit_seconds is None else {"kit": round(self._kit_seconds, 1)}
        return {
            "changed": not self.job.check,
            "backup": str(chosen.name),
            "database": self.job.database,
            "key": chosen.key,
            "bytes": chosen.bytes,
            "rows": copied["rows"],
            "seconds": round(time.monotonic() - self._began, 1),
            "phases": {**kit, **copied["phases"]},
            "restore_seconds": copied["restore_seconds"],
            "rebuild": self._rebuild,
            "checks": checks_of(self._findings, self._made, names),
            "queries": copied["answers"],
            "findings": self._findings,
            "fail_on": self.fail_on,
            "passed": not at_or_above(self._findings, self.fail_on),
            "rpo": record.rpo_of(self.job),
        }
