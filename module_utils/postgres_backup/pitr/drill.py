"""See that every second can be brought back: two rows are written a moment apart, the cluster is
recovered to between them beside the live one, and must hold the first and not the second.
"""

from __future__ import annotations

import contextlib
import time
from typing import TypedDict, final

import psycopg

from ..clock import format_timestamp, utc_now
from ..errors import DatabaseError, LockedError, PostgresBackupError, StoppedError, UsageError
from ..findings import Finding
from ..machine import lock, state
from ..machine.progress import Progress
from ..postgresql.connection import connect, values
from ..settings import Settings
from ..text import human_seconds
from . import arrival, at_rest, recover, route
from . import cluster as clusters
from .drilled import DRILL, LastDrill
from .look import look
from .recover import Recovered
from .side_cluster import SIDE

_LOCK = "pitr-drill"
_SCHEMA = "postgres_backup_drill"
#: seconds between the two
_APART = 1.0
#: letters of a sentence that is remembered
_QUOTED = 900
_BROKEN_OFF = "it was broken off"
_NOW = """SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


@final
class Drilled(TypedDict):
    """What came of it.

    :ivar target: the moment between the two rows; empty where it did not come so far.
    :ivar said: why it failed, or what it has shown.
    """

    changed: bool
    passed: bool
    target: str
    seconds: float
    said: str
    findings: list[Finding]


class Between(TypedDict):
    """:ivar target: a moment behind the first transaction and before the second.
    :ivar first: the number of the first.
    :ivar rows: whether each has written a row; else there are only the transactions.
    """

    target: str
    first: int
    rows: bool


def drill(settings: Settings, progress: Progress) -> Drilled:
    """Make one; nothing of it stays, and how it ended is remembered for the look.

    :raises LockedError: one is being made.
    :raises UsageError: there is a recovered cluster, which somebody looks at.
    """
    tidy(settings)
    route.require_none(settings)
    with lock.hold(settings, _LOCK, "drill"):
        began = time.monotonic()
        now: LastDrill = {
            "at": format_timestamp(utc_now()),
            "running": True,
            "passed": False,
            "seconds": 0.0,
            "target": "",
            "said": "",
        }
        before = state.read(settings, DRILL)
        lost = state.write(settings, DRILL, now)
        try:
            now["said"] = _prove(settings, progress, now)
            now["passed"] = True
        except LockedError:  # somebody recovers, who is let alone: it is made another time
            state.write(settings, DRILL, before)
            raise
        except StoppedError:
            state.write(settings, DRILL, _ended(now, began, _BROKEN_OFF))
            raise
        except PostgresBackupError as error:
            now["said"] = settings.hide(error.message)[:_QUOTED]
        except BaseException:
            state.write(settings, DRILL, _ended(now, began, _BROKEN_OFF))
            raise
        lost += state.write(settings, DRILL, _ended(now, began, now["said"]))
    _, unwritten = look(settings)
    return {
        "changed": True,
        "passed": now["passed"],
        "target": now["target"],
        "seconds": now["seconds"],
        "said": now["said"],
        "findings": lost + unwritten,
    }


def _ended(now: LastDrill, began: float, said: str) -> LastDrill:
    now["running"], now["seconds"] = False, round(time.monotonic() - began, 1)
    now["said"] = said
    return now


def _prove(settings: Settings, progress: Progress, now: LastDrill) -> str:
    """What it has shown.

    :raises PostgresBackupError: every second cannot be brought back.
    """
    cluster = clusters.ask(settings)
    if not cluster.archives:
        raise UsageError(
            "Nothing is archived yet, so nothing can be recovered: archive_mode is off",
            clusters.begins(settings, cluster),
        )
    seen, _ = look(settings, ask_store=True)
    if seen["gaps"]:
        raise PostgresBackupError(
            f"Pieces of what was archived are missing: {seen['gaps'][0]}",
            "postgres-backup pitr-backup --full --config /etc/postgres-backup-pitr/config.env",
        )
    route.make_plan(settings, {"time": _moment(settings)}, latest=False)  # room, and a backup
    progress.step("writing two rows a moment apart")
    between = _write(settings)
    now["target"] = between["target"]
    state.write(settings, DRILL, now)
    typed = {"time": between["target"]}
    try:
        found = recover.recover(settings, progress, typed, False, True, False, counted=False)
        _judge(settings, between, found)
    finally:
        _remove(settings)
    took = human_seconds(found["seconds"])
    what = "the first of two rows" if between["rows"] else "the first of two transactions"
    return (
        f"recovered to {between['target']} from {found['label']} in {took}: {what} is in it, and "
        "not the second"
    )


def _moment(settings: Settings) -> str:
    with connect(settings, "postgres") as connection:
        return values(connection, str, _NOW)[0]


def _write(settings: Settings) -> Between:
    """Two transactions, and a moment between them; what they wrote is removed again, after it."""
    number = "SELECT pg_catalog.txid_current()"
    with connect(settings, "postgres") as connection:
        try:
            _drop(connection)
            connection.execute(f"CREATE SCHEMA {_SCHEMA}")
            rows = True
        except (psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.InsufficientPrivilege):
            rows = False
        try:
            if rows:
                connection.execute(f"CREATE TABLE {_SCHEMA}.moments (number int)")
                number = (
                    f"INSERT INTO {_SCHEMA}.moments SELECT count(*) + 1 FROM {_SCHEMA}.moments "
                    "RETURNING pg_catalog.txid_current()"
                )
            [first] = values(connection, int, number)
            time.sleep(_APART / 2)
            [target] = values(connection, str, _NOW)
            time.sleep(_APART / 2)
            connection.execute(number)
        finally:
            if rows:
                _drop(connection)
    return {"target": target, "first": first, "rows": rows}


def _drop(connection: psycopg.Connection) -> None:
    connection.execute("SET client_min_messages = warning")
    connection.execute(f"DROP SCHEMA IF EXISTS {_SCHEMA} CASCADE")


def _judge(settings: Settings, between: Between, found: Recovered) -> None:
    """:raises PostgresBackupError: it is not as it was between the two."""
    side = state.read(settings, SIDE)
    with connect(arrival.of_side(settings, side), "postgres") as connection:
        if between["rows"]:
            there = values(connection, int, f"SELECT number FROM {_SCHEMA}.moments ORDER BY number")
            wrong = "" if there == [1] else f"of two rows it holds {there or 'none'}"
        else:
            first = connection.execute(
                "SELECT pg_catalog.txid_status(%s)", (between["first"],)
            ).fetchone()
            came = first is not None and first[0] == "committed" and found["next_commit"]
            wrong = "" if came else "it does not hold the first of two transactions alone"
    if wrong:
        raise PostgresBackupError(
            f"The recovered cluster is not as it was at {between['target']}: {wrong}",
            "Take a full backup: postgres-backup pitr-backup --full --config "
            "/etc/postgres-backup-pitr/config.env; then type the same again",
        )


def _remove(settings: Settings) -> None:
    """Of a recovery that failed nothing is there any more."""
    if len(state.read(settings, SIDE)):
        recover.remove(settings, check=False)


def tidy(settings: Settings) -> bool:
    """Remove what a drill has left that did not come to its end, as where the power went; whether
    there was one.

    :raises PostgresBackupError: something of it stays.
    """
    last = state.read(settings, DRILL)
    if not len(last) or not last["running"]:
        return False
    try:
        with lock.hold(settings, _LOCK, "tidying up"):
            side = state.read(settings, SIDE)
            # what somebody has recovered since is left alone
            if len(side) and last["target"] and side["target"] == last["target"][:200]:
                recover.remove(settings, check=False)
            with contextlib.suppress(DatabaseError):  # it is not up yet: the next drill does it
                if at_rest.ask(settings)[1]:
                    with connect(settings, "postgres") as connection:
                        _drop(connection)
            ended: LastDrill = {**last, "running": False, "said": _BROKEN_OFF}
            state.write(settings, DRILL, ended)
    except LockedError:  # it is being made
        return False
    return True


def lines(result: Drilled) -> list[str]:
    """What that says to a person."""
    how = "passed" if result["passed"] else "FAILED"
    told = f"Drill of every second: {how} in {human_seconds(result['seconds'])}: {result['said']}"
    return [told, *(found["message"] for found in result["findings"])]
