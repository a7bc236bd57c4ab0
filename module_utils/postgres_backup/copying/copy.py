"""Everything of this server that is good in the first store, and that the second keeps, is copied
there; what its own retention no longer keeps goes. What fails is told, and keeps nothing else from
being copied; where anything failed, nothing goes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TypedDict

from ..backup.prune import PrunedLine
from ..backup.removal import remove_each
from ..catalog import kits, partials, said, signed
from ..catalog.backups import UNREAD, Backup, Catalog, newest_good
from ..catalog.kits import Kit
from ..catalog.listed_once import Listings
from ..catalog.retention import Decision, Policy, plan, plan_parts
from ..clock import format_timestamp, utc_now
from ..errors import BadBackupError, PostgresBackupError, StoreError, in_words
from ..findings import Finding, finding
from ..health import alarms, rows_gone, second_store
from ..health.alarm_kinds import Alarm, key
from ..health.second_store import Copied, CopiedDatabase
from ..job import Job
from ..machine import identity, lock, state
from ..s3 import calls
from ..s3.clock_skew import require_honest_clock
from ..settings import Settings
from ..text import human_bytes, human_seconds
from . import one

#: who else copies is told by this name
LOCK = "second store"
#: failures that one sentence names
_NAMED = 3


class CopyResult(TypedDict):
    """What was copied (or would be): names of backups and kits, their bytes, and what went from the
    second store, each with its reason. ``kept`` are the backups that lie there.
    """

    changed: bool
    place: str
    copied: list[str]
    bytes: int
    kept: int
    deleted: list[PrunedLine]
    findings: list[Finding]
    seconds: float


def copy_backups(job: Job) -> CopyResult:
    """Copy what is not there yet, of all databases of the settings, and the kits.

    What came of it is remembered (:mod:`..health.second_store`), and a failure is an alarm until
    the next copying goes well.

    :param job: of no database.
    :raises UsageError: there is no second store.
    :raises LockedError: another copying is at work.
    :raises PostgresBackupError: a store does not answer, or something could not be copied: the
        first that failed. All else was copied.
    """
    far = job.at_copy()
    with lock.hold(job.settings, LOCK, "copy"):
        work = _Work(job, far)
        try:
            work.do()
            error = work.error()
        except Exception as any_error:  # noqa: BLE001 - whatever it is, it is an alarm, and told
            error = in_words(any_error)
        told = [] if job.check else _remember(job, work, error)
        if error is not None:
            error.findings += told
            raise error
        work.result["findings"] += told
    job.progress.step(lines(work.result, job.check)[0])
    return work.result


class _Work:
    """One copying.

    :ivar failures: what could not be copied; all else was.
    """

    def __init__(self, near: Job, far: Job) -> None:
        self.near, self.far = near, far
        self.failures: list[PostgresBackupError] = []
        self.databases: dict[str, CopiedDatabase] = {}
        self.began = time.monotonic()
        self.believed = signed.Believed.by(near.settings)
        self.result: CopyResult = {
            "changed": False,
            "place": second_store.place_of(near.settings),
            "copied": [],
            "bytes": 0,
            "kept": 0,
            "deleted": [],
            "findings": [],
            "seconds": 0.0,
        }

    def do(self) -> None:
        """:raises PostgresBackupError: a store does not answer."""
        with self._of("the first store"):
            self.near.store.check()
        with self._of("the second store"):
            self.far.store.check()
        near, far = Listings(self.near.store), Listings(self.far.store)
        for name in self.near.settings.databases:
            self._database(name, near, far)
        self._kits()
        if not self.failures and self.near.settings.prune_nightly:
            with self._of("the second store"):
                self._prune()
        self.result["findings"] += self.near.store.take_refused() + self.far.store.take_refused()
        deleted = self.result["deleted"]
        self.result["changed"] = bool(self.result["copied"] or deleted or self.result["changed"])
        self.result["seconds"] = round(time.monotonic() - self.began, 1)

    def error(self) -> PostgresBackupError | None:
        """What has failed, in one; None where nothing has."""
        if not self.failures:
            return None
        first = self.failures[0]
        more = len(self.failures) - _NAMED
        told = "; ".join(error.message for error in self.failures[:_NAMED])
        told += f"; and {more} more" if more > 0 else ""
        if len(self.failures) == 1:
            return first
        findings = [found for error in self.failures for found in error.findings]
        if all(isinstance(error, BadBackupError) for error in self.failures):
            return BadBackupError(told, first.hint, findings)
        return StoreError(told, first.hint, findings)

    @contextlib.contextmanager
    def _of(self, which: str) -> Iterator[None]:
        """What fails in here says of which store it is, and names its settings."""
        try:
            yield
        except PostgresBackupError as error:
            error.message = f"{which}: {error.message}"
            raise

    def _database(self, name: str, near_listings: Listings, far_listings: Listings) -> None:
        near_catalog = _catalog(self.near, name, near_listings)
        with self._of("the first store"):
            backups = near_catalog.backups()
            parts = partials.look(near_catalog, backups).parts
        far_catalog = _catalog(self.far, name, far_listings)
        with self._of("the second store"):
            there = far_catalog.backups()
            parts_there = partials.look(far_catalog, there).parts
            roles = {
                item.key
                for layout in far_catalog.layouts
                for item in far_listings.below(f"{layout.root}globals/")
            }
        known = {backup.key: backup for backup in [*there, *parts_there]}
        wanted = self._wanted(name, backups, parts)
        # the newest first: where the time is short, it is what somebody will want
        for backup in wanted:
            copied = known.get(one.place_in(self.far, backup.layout).backup(backup.name))
            if not one.is_copied(backup, copied, roles):
                self._copy(backup, copied)
        self._miss([*backups, *parts], known)
        self._say(near_catalog, far_catalog)
        mine = [b for b in there if b.ours and b.good]
        self._note(name, mine, wanted)

    def _wanted(
        self, name: str, backups: Sequence[Backup], parts: Sequence[Backup]
    ) -> list[Backup]:
        """What the second store would keep of what is good in the first, newest first."""
        now, policy = utc_now(), Policy.of(self.far.settings, allow_many=True)
        held = rows_gone.holding(self.near.settings.server_name, name, backups, now)
        decisions = plan(backups, policy, now, held)
        newest = newest_good(backups)
        dated = newest.dated_at if newest else None
        decisions += plan_parts(parts, policy, now, dated, lambda part: part.held)
        return [d.backup for d in decisions if d.keep and d.backup.ours and d.backup.good]

    def _miss(self, backups: Sequence[Backup], known: Mapping[str, Backup]) -> None:
        """Fail for what may be good in the first store, and does not let itself be read there: it
        was not copied, unless it was before.
        """
        for backup in backups:
            there = known.get(one.place_in(self.far, backup.layout).backup(backup.name))
            if (there and there.good) or not backup.candidate:
                continue
            if backup.problem_code in UNREAD or backup.forged:
                with self._may_fail(str(backup.name)), self._of("the first store"):
                    raise StoreError(backup.problem, "See what it says: `postgres-backup list`")

    def _copy(self, backup: Backup, there: Backup | None) -> None:
        if self.near.check:
            self._copied(str(backup.name), backup.bytes)
            return
        with self._may_fail(str(backup.name)):
            sent = one.copy_backup(self.near, self.far, self.believed, backup, there)
            self._copied(str(backup.name), backup.bytes if sent else 0)
            self.near.progress.step(
                f"copied {backup.name} to the second store"
                + (f": {human_bytes(backup.bytes)}" if sent else ": what describes it")
            )

    def _copied(self, name: str, size: int) -> None:
        self.result["copied"].append(name)
        self.result["bytes"] += size

    @contextlib.contextmanager
    def _may_fail(self, name: str) -> Iterator[None]:
        """One thing that cannot be copied keeps the next from nothing."""
        try:
            yield
        except PostgresBackupError as error:
            error.message = f"{name} was not copied to the second store: {error.message}"
            self.failures.append(error)
            self.near.progress.step(self.near.settings.hide(error.message))

    def _say(self, near: Catalog, far: Catalog) -> None:
        """What was said of backups: whose they are, and which tables are empty on purpose."""
        for layout in near.layouts:
            there = {item.key for item in near.listings.below(layout.root + "manifests/")}
            told = {key for key in there if said.is_said(layout.root, key)}
            if not told:
                continue
            target = one.place_in(self.far, layout)
            known = {item.key for item in far.listings.below(target.root + "manifests/")}
            pairs = [(key, target.root + key[len(layout.root) :]) for key in sorted(told)]
            missing = [(key, to) for key, to in pairs if to not in known]
            if missing and not self.near.check:
                with self._may_fail("what was said of backups"):
                    good = said.vouched(self.near.store, layout.root, told, there, self.believed)
                    chosen = [(key, to) for key, to in missing if key in good]
                    count = one.copy_small(self.near, self.far, chosen)
                    self.result["changed"] = self.result["changed"] or bool(count)

    def _kits(self) -> None:
        with self._of("the first store"):
            near = kits.list_kits(self.near.settings, self.near.store)
        if not near:
            return
        with self._of("the second store"):
            far = {kit.name: kit for kit in kits.list_kits(self.far.settings, self.far.store)}
        policy = Policy.of(self.far.settings, allow_many=True)
        for decision in plan(near, policy, utc_now(), _held):
            kit = decision.backup
            if not (decision.keep and kit.ours and kit.good):
                continue
            there = far.get(kit.name)
            if there is None or not _same(kit, there):
                self._copy_kit(kit, there)

    def _copy_kit(self, kit: Kit, there: Kit | None) -> None:
        if self.near.check:
            self._copied(kit.name, kit.bytes)
            return
        with self._may_fail(kit.name):
            one.copy_kit(self.near, self.far, self.believed, kit, there)
            self._copied(kit.name, kit.bytes)
            self.near.progress.step(
                f"copied {kit.name} to the second store: {human_bytes(kit.bytes)}"
            )

    def _note(self, name: str, there: Sequence[Backup], wanted: Sequence[Backup]) -> None:
        """What lies there now, newest first."""
        arrived = set(self.result["copied"]) if not self.near.check else set()
        sizes = {str(b.name): b for b in there if not b.name.part}
        sizes |= {str(b.name): b for b in wanted if str(b.name) in arrived and not b.name.part}
        mine = sorted(sizes.values(), key=lambda b: b.dated_at, reverse=True)
        self.databases[name] = {
            "newest": format_timestamp(mine[0].taken_at) if mine else None,
            "bytes": sum(b.bytes for b in mine),
            "backups": [str(b.name) for b in mine],
        }
        self.result["kept"] += len(mine)

    def _prune(self) -> None:
        """The second store's own retention; the newest good backup there stays, whatever its
        age.
        """
        require_honest_clock(self.far.store)
        listings = Listings(self.far.store)
        for name in self.far.settings.databases:
            catalog = _catalog(self.far, name, listings)
            backups, now = catalog.backups(), utc_now()
            policy = Policy.of(self.far.settings)
            held = rows_gone.holding(self.far.settings.server_name, name, backups, now)
            newest = newest_good(backups)
            dated = newest.dated_at if newest else None
            found = partials.look(catalog, backups)
            decisions = plan(backups, policy, now, held)
            decisions += plan_parts(found.parts, policy, now, dated, lambda part: part.held)
            going = [decision for decision in decisions if not decision.keep]
            self.result["deleted"] += [
                {"backup": str(gone.backup.name), "reason": gone.reason} for gone in reversed(going)
            ]
            if not self.near.check:
                remove_each(self.far.store, going, self._deleted, calls.REMOVE_COPY)
                leftovers = catalog.leftovers() + partials.leftovers(catalog, found)
                self.far.store.delete(leftovers, calls.REMOVE_COPY)
        there = kits.list_kits(self.far.settings, self.far.store)
        for kit in reversed(plan(there, Policy.of(self.far.settings), utc_now(), _held)):
            if not kit.keep:
                self._delete_kit(kit)

    def _deleted(self, gone: Decision[Backup]) -> None:
        name = str(gone.backup.name)
        self.near.progress.step(f"deleted {name} in the second store: {gone.reason}")
        for known in self.databases.values():
            if name in known["backups"]:
                known["backups"].remove(name)
                known["bytes"] -= gone.backup.bytes
                self.result["kept"] -= 1

    def _delete_kit(self, decision: Decision[Kit]) -> None:
        kit, reason = decision.backup, decision.reason
        self.result["deleted"].append({"backup": kit.name, "reason": reason})
        if not self.near.check:
            about = kits.manifest_key(self.far.settings, kit.name)
            keys = [kit.key, *signed.each_after_its_signature([about])]
            self.far.store.delete(keys, calls.REMOVE_COPY)
            self.near.progress.step(f"deleted {kit.name} in the second store: {reason}")


def _catalog(job: Job, name: str, listings: Listings) -> Catalog:
    own = identity.remembered(job.settings)
    return Catalog(job.settings, job.store, name, own, listings)


def _held(kit: Kit) -> str:
    """Why a kit stays whatever its age; empty where nothing holds it."""
    if kit.forged:
        return "its signature is wrong"
    return "its manifest is for another kit" if kit.problem else ""


def _same(kit: Kit, there: Kit) -> bool:
    same = there.manifest == kit.manifest and there.standing == kit.standing
    return same and there.bytes == kit.bytes and not there.problem


def _remember(job: Job, work: _Work, error: PostgresBackupError | None) -> list[Finding]:
    """For ``status`` and the others, and as an alarm.

    :return: findings: what could not be noted or told.
    """
    settings = job.settings
    before = second_store.remembered(settings)
    known: Copied = {
        "place": second_store.place_of(settings),
        "at": format_timestamp(utc_now()),
        "error": settings.hide(error.message) if error else "",
        "databases": {**before.get("databases", {}), **work.databases},
    }
    findings = state.write(settings, second_store.COPIED, known)
    raised = [_alarm(settings, error)] if error else []
    return findings + alarms.settle(settings, [key("COPY_FAILED")], raised)


def _alarm(settings: Settings, error: PostgresBackupError) -> Alarm:
    first = error.message.startswith("the first store")
    cause = "store" if first and isinstance(error, StoreError) else ""
    return Alarm("COPY_FAILED", "", settings.hide(error.message), settings.hide(error.hint), cause)


def failed(settings: Settings, error: PostgresBackupError) -> Finding:
    """COPY_FAILED, for a night that goes on."""
    hint = f". {error.hint}" if error.hint else ""
    return finding("COPY_FAILED", settings.hide(f"{error.message}{hint}"))


def lines(result: CopyResult, check: bool = False) -> list[str]:
    """:func:`copy_backups` for a person; the first line is what the log ends with."""
    copied, delete = ("would be copied", "would delete") if check else ("copied", "deleted")
    first = (
        f"second store: {len(result['copied'])} {copied} ({human_bytes(result['bytes'])}), "
        f"{result['kept']} backups there, {human_seconds(result['seconds'])}"
    )
    return [
        first,
        *(f"{copied}  {name}" for name in result["copied"]),
        *(f"{delete}  {line['backup']}  {line['reason']}" for line in result["deleted"]),
        *(found["message"] for found in result["findings"]),
    ]
