"""A backup loaded and proved in a side database, beside the live one, and the swap that makes it
live.

Until the swap the live database does not notice. Whatever fails before it leaves nothing behind.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType

import psycopg

from ..catalog import manifest
from ..catalog.manifest import Manifest, TableRecord, major_of
from ..errors import BadBackupError, DatabaseError, PostgresBackupError
from ..findings import Finding, finding
from ..job import Job
from ..postgresql import databases, refreshes, replaced, standby, subscriptions, swap
from ..postgresql.chosen import Chosen, parents_of
from ..postgresql.connection import connect, connect_maintenance, first_line
from ..postgresql.early import BESIDE_BYTES, EarlyComparison
from ..postgresql.effort import GENTLE, effort_of
from ..postgresql.facts import database_facts
from ..postgresql.helper import RowsAside
from ..postgresql.load import Load
from ..postgresql.pg_dump import Dump
from ..postgresql.statistics import Statistics, gather_statistics
from ..postgresql.ways import AnewError, Way, anew
from ..stream.inspector import Report, TableFacts
from ..verify.proof import require_whole
from ..verify.reader import BackupReader
from . import part, roles
from .named_roles import all_missing_named
from .plan import Plan
from .room import chosen_bytes, require_room, whole_bytes

#: seconds between attempts to remove a side database: a server that has just crashed needs a moment
_PATIENCE = (0, 1, 2, 4, 8)


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A backup that stands in a side database, compared with what went in.

    :param sha256: of the object.
    :param passed_tables: that were read and proved, and not loaded, for nobody asked for them; and
        ``passed_rows``, theirs.
    :param unread_tables: that were not even read.
    :param read_bytes: of the object, that were used.
    """

    side_database: str
    rows: int
    sha256: str
    findings: list[Finding]
    passed_tables: int = 0
    passed_rows: int = 0
    unread_tables: int = 0
    read_bytes: int = 0


@dataclasses.dataclass(frozen=True)
class Swapped:
    """A side database that is live now.

    :param kept_database: what the one it replaced is called; None where there was none.
    :param downtime_seconds: for how long nobody could use the database.
    """

    kept_database: str | None
    downtime_seconds: float


def load_side_database(
    job: Job,
    plan: Plan,
    drill: bool = False,
    tables: Sequence[str] = (),
    look: Callable[[psycopg.Connection], None] = lambda side: None,
) -> Loaded:
    """Fill a side database and compare it with the backup.

    :param drill: it will never be live. It stands aside for every restore, which removes it like
        what died; so it removes nothing but what other drills have left, and makes no roles.
    :param tables: only their rows, and all definitions; empty: everything.
    :param look: at the definitions, before their rows are loaded.
    :raises PostgresBackupError: the backup is not what it should be, or does not load; the side
        database is gone.
    """
    with connect_maintenance(job.settings, plan.database) as connection:
        findings = _clear_up(job, connection, drill)
        if plan.missing_roles and not drill:
            findings += roles.create(connection, plan.missing_roles, plan.role_statements)
            job.progress.step(f"{plan.database}: created the roles {', '.join(plan.missing_roles)}")
        side = replaced.side_name(connection, plan.database, replaced.server_now(connection))

    def load(chosen: Chosen | None) -> Loaded:
        return anew(lambda ways: _load(job, plan, side, ways, drill, chosen), plan.ways, again)

    def again(error: AnewError) -> None:
        job.progress.step(f"{plan.database}: {error.message}; the load begins anew, otherwise")

    with all_missing_named(job, plan):
        chosen = Chosen(job.settings, plan.database, tables, look=look) if tables else None
        loaded = _only(job, plan, chosen, load) if chosen else load(None)
    return dataclasses.replace(loaded, findings=[*plan.findings, *findings, *loaded.findings])


class _ParentsNeededError(Exception):
    """Tables that are made again have foreign keys to these."""

    def __init__(self, parents: Sequence[str]) -> None:
        super().__init__(", ".join(parents))
        self.parents = parents


def _only(job: Job, plan: Plan, chosen: Chosen, load: Callable[[Chosen | None], Loaded]) -> Loaded:
    """Load no more than chosen tables take; where that does not work alone, everything."""
    try:
        try:
            return load(chosen)
        except _ParentsNeededError as needed:
            told = f"{plan.database}: with the rows of {needed}, which its foreign keys point to"
            job.progress.step(told)
            wanted = chosen.with_more(needed.parents)
            require_room(chosen_bytes(job, plan.backup, wanted.names), plan.free_bytes, told)
            return load(wanted)
    except (BadBackupError, DatabaseError) as error:
        if error.passes:
            raise
        # a CHECK or an index may read other tables; what is wrong with the backup shows again
        require_room(whole_bytes(plan.backup), plan.free_bytes, error.message)
        job.progress.step(f"{plan.database}: {error.message}; everything is loaded instead")
        return load(None)


def _load(
    job: Job,
    plan: Plan,
    side: str,
    ways: frozenset[Way],
    drill: bool,
    chosen: Chosen | None,
) -> Loaded:
    """One load, into a side database that is new."""
    findings: list[Finding] = []
    with discarded_on_failure(job, side):
        with connect_maintenance(job.settings, plan.database) as connection:
            databases.create_database(
                connection,
                side,
                plan.wanted,
                lambda: replaced.side_comment(
                    connection, side, plan.database, plan.name, plan.wanted.comment, drill
                ),
            )
            if job.pace.rate:
                databases.take_one_process(connection, side)
            # before the rows: the settings may say how they read (lc_monetary), and a right that is
            # missing shows now
            findings += databases.dress_database(connection, side, plan.wanted)
        job.progress.phase(f"loading {plan.name} into {side}")
        if plan.backup.name.part:
            part.prepare(job, side, plan.backup.manifest)
        reader = BackupReader(job, plan.backup, plan.tools)
        effort = GENTLE if job.pace.rate else effort_of(job.settings)
        meanwhile = (
            plan.dumped_by_us
            and effort.sessions > 1
            and not (drill or chosen or plan.backup.name.part)
        )
        statistics = Statistics(job.settings, side)
        early = EarlyComparison(plan.tools, side, statistics.begin)
        shared = reader.share() if meanwhile and not ways else frozenset()
        helper = RowsAside(
            job.settings, side, shared, reader.rows_apart, reader.ahead_bytes + BESIDE_BYTES
        )
        load = Load(
            job.settings,
            side,
            cleaning=not plan.dumped_by_us,
            superusers=plan.superusers,
            ways=ways,
            part=bool(plan.backup.name.part),
            chosen=chosen,
            effort=effort,
            comparison=early if meanwhile else None,
            helper=helper if shared else None,
            beside=reader.ahead_bytes + BESIDE_BYTES,
        )
        load.guard.hashes_all = False  # of each table suffices, and the object's is known
        with statistics, early:
            with helper, load:
                wants = load.wants if chosen else None
                job.pace.begin()
                reader.feed(load.feed, lambda: load.guard.current_table, wants)
                report = load.inspect()
                require_whole(plan.backup, report, reader.unread)
                load.finish()
            findings += load.done.findings()
            kept = None if chosen is None or not chosen.found else load.kept
            if plan.backup.name.part:
                findings += part.left_out(plan.name, load.left_out)
            elif chosen and not chosen.more and load.left_out and chosen.gone():
                raise _ParentsNeededError(parents_of(load.left_out))
            encoding = load.guard.encoding if plan.dumped_by_us else ""
            if drill:  # it measures each, and takes one process of the server
                job.progress.phase(f"gathering statistics of {side}")
                findings += gather_statistics(job.settings, side)
                differences = _compare(job, plan, side, report, encoding, kept)
            else:
                with statistics.rest(early.changed_late) as gathered:
                    compared = early.compared()
                    differences = _compare(job, plan, side, report, encoding, kept, compared)
                findings += gathered
        if load.unfilled:  # a dump tells that too, by what it does not say
            differences = [one for one in differences if one["code"] != "SCHEMA_DIFFERS"]
        findings += [*differences, *refreshes.findings(load.unfilled, plan.database)]
        with connect_maintenance(job.settings, plan.database) as connection:
            databases.limit_connections(connection, side, plan.wanted.connection_limit)
    passed = {} if kept is None else {n: t for n, t in report.tables.items() if n not in kept}
    passed_rows = sum(table.rows for table in passed.values())
    passed_count = (len(passed), passed_rows)
    unread = (len(reader.unread), reader.read_bytes)
    return Loaded(side, report.rows, reader.sha256, findings, *passed_count, *unread)


def _clear_up(job: Job, connection: psycopg.Connection, drill: bool) -> list[Finding]:
    """Remove what restores or drills that died have left; findings for what another user's left, or
    somebody keeps from being dropped.
    """
    findings = []
    for leftover in replaced.leftovers(connection, job.database, drill):
        job.progress.step(f"{job.database}: removing {leftover}, left by one that did not end")
        try:
            subscriptions.forget(job.settings, connection, leftover)
            databases.drop_database(connection, leftover)
        except (
            DatabaseError,
            psycopg.errors.InsufficientPrivilege,
            psycopg.errors.ObjectInUse,
        ) as error:
            why = error.message if isinstance(error, DatabaseError) else first_line(error)
            findings.append(
                finding(
                    "SIDE_DATABASE_LEFT",
                    f"{leftover} of an earlier restore could not be removed: {why}",
                )
            )
    return findings


def _compare(
    job: Job,
    plan: Plan,
    side: str,
    report: Report,
    encoding: str,
    kept: Collection[str] | None,
    compared: Mapping[str, TableFacts] = MappingProxyType({}),
) -> list[Finding]:
    """Dump the side database through the same inspector: what went in must come out, row by row.

    A dump that was not ours may have been written under other settings (time zone) and by other
    ways (through the partitioned table instead of its partitions), so only rows are counted; where
    there are only INSERT statements, nothing can be compared. Rows of a table that could not be
    made new before them are compared in any order, see ``postgresql/row_order``.

    :param encoding: in which the backup is written.
    :param kept: tables whose rows were loaded; None: all of them.
    :param compared: what has come out of tables already, and is not dumped again.
    """
    job.progress.phase(f"comparing {side} with the backup")
    any_order = {name: facts.any_order for name, facts in report.tables.items() if facts.any_order}
    dump = Dump(plan.tools, side, encoding=encoding, unordered=any_order, without_rows=compared)
    dump.inspector.hashes_all = False
    job.pace.begin()
    for chunk in dump.chunks():
        job.progress.advance(len(chunk), lambda: dump.inspector.current_table)
        job.pace.passed(len(chunk))
    came = dataclasses.replace(dump.report, tables={**compared, **dump.report.tables})
    went_in, came_out = manifest.tables_of(report), manifest.tables_of(came)
    for name, whole in any_order.items():
        if name in came_out and dump.report.tables[name].any_order == whole:
            came_out[name] = went_in[name]
    if kept is not None:
        went_in = {name: table for name, table in went_in.items() if name in kept}
        came_out = {name: table for name, table in came_out.items() if name in kept}
    if not plan.dumped_by_us:
        if not went_in and any(table["rows"] for table in came_out.values()):
            return [
                finding(
                    "ROWS_NOT_COMPARED",
                    "the dump has its rows as INSERT statements; they were loaded without an error",
                )
            ]
        went_in, came_out = _only_rows(went_in, came_out), _only_rows(came_out, went_in)
    empty = {name for name in came_out.keys() - went_in.keys() if not came_out[name]["rows"]}
    if plan.backup.name.part:  # definitions alone: tables are there, and none has rows
        came_out = {name: table for name, table in came_out.items() if name not in empty}
    elif empty:  # a standby's dump leaves out what an unlogged table would hold, and that it does
        with connect(plan.tools.settings, side) as connection:
            for name in empty.intersection(standby.unlogged(connection)):
                del came_out[name]
    differences = manifest.differences(went_in, came_out)
    if differences:
        raise BadBackupError(
            f"The restored database is not what went in: {differences[0]['message']}",
            "The live database is untouched. Please report this with the server's log",
            differences,
        )
    # of a part: what it needed was made beside it, or left out and told
    if plan.backup.name.part or kept is not None:
        return []
    if plan.dumped_by_us and schema_differs(plan.backup.manifest, report, dump.report):
        return [
            finding(
                "SCHEMA_DIFFERS",
                "all rows are equal, but the definitions read differently, "
                "or are not all there (extensions of another version?)",
            )
        ]
    return []


def schema_differs(known: Manifest | None, went_in: Report, came_out: Report) -> bool:
    """Whether the definitions read differently although they should not: another major writes them
    otherwise. Another minor may write other options and settings, so there it is asked whether
    the same objects are there, of the same owners.
    """
    expected = known.get("schema_sha256") if known else ""
    if not expected or major_of(went_in.server_version) != major_of(came_out.server_version):
        return False
    if _versions(went_in) != _versions(came_out):
        return went_in.objects != came_out.objects
    if came_out.frame_sha256:  # rows that were compared before are not in it
        frames = went_in.frame_sha256, came_out.frame_sha256
        return expected != went_in.schema_sha256 or frames[0] != frames[1]
    return expected != came_out.schema_sha256


def _versions(report: Report) -> tuple[str, str]:
    return report.server_version, report.program_version


def _only_rows(
    tables: Mapping[str, TableRecord], others: Mapping[str, TableRecord]
) -> dict[str, TableRecord]:
    """Nothing but numbers of rows; those of tables that the other side does not name added up."""
    rows: dict[str, TableRecord] = {
        name: _counted(table["rows"]) for name, table in tables.items() if name in others
    }
    rows["tables of other names"] = _counted(
        sum(table["rows"] for name, table in tables.items() if name not in others)
    )
    return rows


def _counted(rows: int) -> TableRecord:
    return {"rows": rows, "bytes": 0, "sha256": ""}


def discard_side_database(job: Job, side: str) -> None:
    """Remove a side database that will not be used.

    :raises DatabaseError: the server does not come back within some seconds.
    """
    for pause in _PATIENCE:
        time.sleep(pause)
        try:
            with connect_maintenance(job.settings, job.database) as connection:
                # it may be live by now, or never have been ours
                if side in replaced.leftovers(connection, job.database):
                    subscriptions.forget(job.settings, connection, side)
                    databases.drop_database(connection, side)
            return
        except DatabaseError as error:
            refused = error
    raise refused


@contextmanager
def discarded_on_failure(job: Job, side: str) -> Iterator[None]:
    """What failed first is what is told; that the side database could not be removed is a finding
    beside it.
    """
    try:
        yield
    except BaseException as error:
        try:
            discard_side_database(job, side)
        except DatabaseError as second:
            if isinstance(error, PostgresBackupError):
                message = (
                    f"{side} could not be removed, the next restore removes it: {second.message}"
                )
                error.findings.append(finding("SIDE_DATABASE_LEFT", message))
        raise


def swap_in(job: Job, side: str) -> Swapped:
    """Put the side database in the live one's place, in one transaction."""
    job.progress.step(f"{job.database}: swapping")
    with connect_maintenance(job.settings, job.database) as connection:
        ready = replaced.side(connection, job.database, side)
        live = database_facts(connection, job.database)
        now = replaced.server_now(connection)
        kept = replaced.kept_name(connection, job.database, now) if live else None
    renames = [(side, job.database)]
    if live and kept:
        renames.insert(0, (job.database, kept))

    def comments(connection: psycopg.Connection) -> dict[str, str | None]:
        made = {job.database: ready.comment}
        if live and kept:
            made[kept] = replaced.kept_comment(
                connection, job.database, kept, f"restore of {ready.backup}", live.comment
            )
        return made

    downtime = swap.swap(job.settings, renames, comments)
    if kept:
        replaced.count_in(job.settings, job.database, kept)
    return Swapped(kept, round(downtime, 3) if kept else 0.0)
