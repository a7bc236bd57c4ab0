"""Take over what old scripts left, or another server of our name, so that the retention counts for
it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypedDict

from ..catalog import kits, said, servers, signed
from ..catalog.backups import Backup, Catalog
from ..catalog.kits import Kit
from ..catalog.manifest import parse_kit
from ..catalog.proofs import Kind
from ..clock import utc_now
from ..errors import BadBackupError, DatabaseError, PostgresBackupError, UsageError
from ..findings import Finding, finding
from ..health import outcome
from ..job import Job
from ..machine import lock
from ..postgresql.connection import connect, values
from ..postgresql.own import own_mark
from ..restore.kit import read_kit
from ..restore.preflight import make_plan
from ..restore.side_database import discard_side_database, load_side_database
from ..s3 import calls
from ..stream.other_tools import MENDABLE
from ..text import human_bytes
from ..verify.contents import Contents
from ..verify.proof import note, prove

#: tables that a line names
_NAMED = 5
_TABLES = """
SELECT format('%I.%I', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'f')
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"""


class Refused(TypedDict):
    backup: str
    reason: str


class Compared(TypedDict):
    """The tables of a dump beside those of the live database: how many it has, how many of these
    are there too, and those that are not (a few of them).
    """

    backup: str
    tables: int
    live: int
    missing: list[str]


class Offered(TypedDict):
    """What would be vouched for: a backup (or kit), its bytes, and whether its manifest names
    us.
    """

    backup: str
    bytes: int
    ours: bool


class Adopted(TypedDict):
    """The names of those that were taken over, and those that were not, each with the reason;
    ``compared`` tells of those that name no database, ``restored`` which one was loaded too, and
    ``offered`` what waits for a word, where none was given.
    """

    changed: bool
    database: str
    adopted: list[str]
    restored: str
    offered: list[Offered]
    refused: list[Refused]
    compared: list[Compared]
    findings: list[Finding]


class _RefusedError(Exception):
    """It is somebody else's, or may be."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def adopt_backups(
    job: Job, names: Sequence[str] = (), server: str = "", yes: bool = True
) -> Adopted:
    """Vouch for backups that nobody has signed: those without a manifest are declared to be this
    server's and database's, so that the retention counts for them; those that this server itself
    made before it had a key get its signature, its kits too.

    They are read to their end first, as ``verify`` does; what is not whole is not adopted. Nor is
    what names another database, or has other tables than the live one. The newest of them is loaded
    into a database beside the live one too, which is dropped again.

    :param yes: whoever asks has said that these are to be believed; else they are only listed.

    :param names: only these, which are adopted also where they have other tables.
    :param server: not these, but what another server of our name has taken until now: its system
        identifier, or its machine.
    :raises UsageError: there is no such backup, or no such server.
    """
    job.require()
    result: Adopted = {
        "changed": False,
        "database": job.database,
        "adopted": [],
        "restored": "",
        "offered": [],
        "refused": [],
        "compared": [],
        "findings": [],
    }
    with lock.hold(job.settings, job.database, "adopt"):
        own = own_mark(job.settings, job.database)
        catalog = Catalog(job.settings, job.store, job.database, own)
        asked_at = utc_now()
        backups = catalog.backups()
        if server:
            _adopt_server(job, catalog, backups, asked_at, server, result)
            result["findings"] += _noted(job, result, server)
            return result
        known: list[Backup | Kit] = [*backups, *kits.list_kits(job.settings, job.store)]
        waiting = _chosen(known, names)
        if not (yes or job.check):
            result["offered"] = [
                {"backup": str(b.name), "bytes": b.bytes, "ours": b.ours} for b in waiting
            ]
            return result
        live = _Live(job) if any(isinstance(b, Backup) for b in waiting) else None
        for one in waiting:
            if isinstance(one, Kit):
                _adopt_kit(job, one, result)
            else:
                _adopt(job, one, live, backup_is_named=bool(names), result=result)
        result["findings"] += _noted(job, result)
    return result


def _noted(job: Job, result: Adopted, server: str = "") -> list[Finding]:
    """What was taken over, in the journal; only here do people say so."""
    if job.check or not result["adopted"]:
        return []
    facts: dict[str, object] = {"database": job.database, "adopted": result["adopted"]}
    if server:
        facts["from"] = server
    return outcome.told(job.settings, job.database, "adopt", facts)


def _chosen(known: Sequence[Backup | Kit], names: Sequence[str]) -> list[Backup | Kit]:
    """Those that nobody vouches for; of them those that are named, where any are.

    :raises BadBackupError: one that is named is forged, or bad: nobody can vouch for it.
    :raises UsageError: there is none of that name, or it waits for nobody.
    """
    waiting = [one for one in known if one.unvouched]
    unknown = sorted(set(names) - {str(one.name) for one in waiting})
    for one in known:
        if str(one.name) in unknown:
            _object_to(one)
    if unknown:
        raise UsageError(
            f"No backup {unknown[0]} waits for adoption", "postgres-backup adopt says which do"
        )
    return [one for one in waiting if not names or str(one.name) in names]


def _object_to(one: Backup | Kit) -> None:
    """:raises BadBackupError: it is forged, or bad."""
    if isinstance(one, Kit) and one.problem and not one.forged:
        raise one.problem
    why, code = one.standing.says, "SIGNATURE_WRONG"
    if isinstance(one, Backup) and one.problem and not one.forged:
        why, code = one.problem, one.problem_code
    elif not one.forged:
        return
    raise BadBackupError(
        f"{one.name} cannot be vouched for: {why}",
        "Take another: postgres-backup list. And ask who else has a key to the bucket",
        [finding(code, f"{one.name}: {why}")],
    )


class _Live:
    """The tables of the live database, or why they are not known."""

    def __init__(self, job: Job) -> None:
        self.tables: set[str] = set()
        self.unknown = ""
        try:
            with connect(job.settings, job.database) as connection:
                self.tables = set(values(connection, str, _TABLES))
        except DatabaseError as error:
            self.unknown = error.message

    def has(self, table: str) -> bool:
        """Old dumps write no schema: then any will do."""
        return table in self.tables or any(name.endswith(f".{table}") for name in self.tables)


def _adopt(
    job: Job, backup: Backup, live: _Live | None, backup_is_named: bool, result: Adopted
) -> None:
    contents = Contents()
    try:
        proven = prove(job, backup, contents, anew=True)
        if compared := _whose(job, backup, contents, live, backup_is_named):
            result["compared"].append(compared)
    except (BadBackupError, UsageError, DatabaseError) as error:
        # cut, altered, encrypted for a key that is not here, or an archive and no pg_restore for it
        mendable = any(found["code"] in MENDABLE for found in error.findings)
        reason = f"{error.message}. {error.hint}" if mendable else error.message
        result["refused"].append({"backup": str(backup.name), "reason": reason})
        result["findings"] += error.findings or [finding("NOT_ADOPTED", error.message)]
        return
    except _RefusedError as refused:
        result["refused"].append({"backup": str(backup.name), "reason": refused.message})
        result["findings"].append(finding(refused.code, f"{backup.name}: {refused.message}"))
        return
    if not backup.ours:
        proven["server"] = {"name": job.settings.server_name}
        proven["adopted"] = True
    kind: Kind = "read"
    # the newest of those that are whole, which comes first
    if not (job.check or result["adopted"]) and _is_loaded(job, backup, result):
        kind, result["restored"] = "restored", str(backup.name)
    result["changed"] = True
    result["adopted"].append(str(backup.name))
    if not job.check:
        result["findings"] += note(job, backup, proven, vouch=True, kind=kind)
        job.progress.step(f"{job.database}: adopted {backup.name}, which was {kind}")


def _adopt_kit(job: Job, kit: Kit, result: Adopted) -> None:
    key = kits.manifest_key(job.settings, kit.name)
    try:
        for _ in read_kit(job, kit):
            continue
        data = job.store.get(key, kits.MOST_BYTES) or b""
        if parse_kit(data, key) != kit.manifest:
            raise BadBackupError(f"{kit.name} was replaced while it was read", "Adopt again")
    except (BadBackupError, UsageError) as error:
        result["refused"].append({"backup": kit.name, "reason": error.message})
        result["findings"] += error.findings or [finding("NOT_ADOPTED", error.message)]
        return
    result["changed"] = True
    result["adopted"].append(kit.name)
    if not job.check:
        # as it lies there, byte for byte: a kit's manifest says all that is asked of one
        result["findings"] += signed.put(job.store, calls.PROOF, key, data)
        job.progress.step(f"kit: adopted {kit.name}, which was read")


def _is_loaded(job: Job, backup: Backup, result: Adopted) -> bool:
    """Load it into a database beside the live one, and drop that again."""
    trusting = dataclasses.replace(job, trust_unsigned=True)
    try:
        loaded = load_side_database(trusting, make_plan(trusting, str(backup.name)))
        discard_side_database(trusting, loaded.side_database)
    except PostgresBackupError as error:
        message = f"{backup.name} could be read, and not loaded: {error.message}. {error.hint}"
        result["findings"].append(finding("ADOPTED_UNLOADED", message))
        return False
    return True


def _whose(
    job: Job, backup: Backup, contents: Contents, live: _Live | None, backup_is_named: bool
) -> Compared | None:
    """See that it is a dump of this database.

    :return: its tables beside the live ones; None where it says itself whose it is.
    :raises _RefusedError: it names another, or cannot be a dump of ours.
    """
    others = sorted(contents.databases - {job.database})
    if others:
        raise _RefusedError(
            "OTHER_DATABASE",
            f"it is a dump of the database {', '.join(others)}, and says so itself; "
            f"this is {job.database}",
        )
    if contents.databases or backup.ours or live is None:
        return None
    tables = sorted(contents.tables)
    if live.unknown and not backup_is_named:
        raise _RefusedError(
            "TABLES_DIFFER",
            "it does not say of which database it is, and its tables cannot be held against those "
            f"of {job.database}: {live.unknown}. Adopt again when the server answers",
        )
    missing = [name for name in tables if not live.has(name)]
    if len(missing) * 2 > len(tables) and not backup_is_named:
        raise _RefusedError(
            "TABLES_DIFFER",
            f"it does not say of which database it is, and only {len(tables) - len(missing)} of "
            f"its {len(tables)} tables are in {job.database}; not there: {_few(missing)}. If it is "
            f"a dump of {job.database} all the same: postgres-backup adopt {backup.name}",
        )
    return {
        "backup": str(backup.name),
        "tables": len(tables),
        "live": len(tables) - len(missing),
        "missing": missing[:_NAMED],
    }


def _few(tables: Sequence[str]) -> str:
    more = f" and {len(tables) - _NAMED} more" if len(tables) > _NAMED else ""
    return ", ".join(tables[:_NAMED]) + more


def _adopt_server(
    job: Job,
    catalog: Catalog,
    backups: Sequence[Backup],
    asked_at: datetime,
    server: str,
    result: Adopted,
) -> None:
    """What another server of our name has taken until ``asked_at`` is ours.

    :param backups: as they were then.
    """
    theirs = [
        b
        for b in backups
        if (b.whose or b.untold) and server in (b.mark.identifier, b.mark.machine)
    ]
    if not theirs:
        known = dict.fromkeys(servers.label(b.mark) for b in backups if b.whose or b.untold)
        raise UsageError(
            f"No other server {server} has left backups of {job.database} under the name "
            f"{job.settings.server_name}",
            f"Those that have: {', '.join(known)}" if known else "No other server has",
        )
    result["changed"] = True
    result["adopted"] = [str(backup.name) for backup in theirs]
    if not job.check:
        # whatever it takes from this very second on was not looked at
        until = max(theirs[0].dated_at, asked_at - timedelta(seconds=1))
        told = said.Adoption(until, server, servers.label(catalog.own))
        said.write_adoption(job.store, catalog.layout, job.database, told)
        job.progress.step(f"{job.database}: adopted {len(theirs)} backups of the server {server}")


def lines(result: Adopted, check: bool = False) -> list[str]:
    """:func:`adopt_backups` for a person.

    :param check: nothing was adopted.
    """
    if offered := result["offered"]:
        return [
            f"{result['database']}: nobody has signed these {len(offered)}:",
            *(
                f"offered  {line['backup']}  {human_bytes(line['bytes'])}, "
                + ("of this server, it says" if line["ours"] else "whose it is it does not say")
                for line in offered
            ),
            (
                "If you know where they come from: postgres-backup adopt --yes reads each to its "
                "end, loads the newest beside, and signs them"
            ),
        ]
    compared = {line["backup"]: line for line in result["compared"]}
    done = "would be adopted" if check else "adopted"
    how = {name: "restored" if name == result["restored"] else "read" for name in result["adopted"]}
    return [
        *(
            f"{done}  {name}, {how[name]}{_beside(result, compared.get(name))}"
            for name in result["adopted"]
        ),
        *(f"refused  {line['backup']}: {line['reason']}" for line in result["refused"]),
    ] or ["Nothing waits for adoption."]


def _beside(result: Adopted, compared: Compared | None) -> str:
    if compared is None:
        return ""
    told = f": {compared['live']} of its {compared['tables']} tables are in {result['database']}"
    missing = f"; not there: {', '.join(compared['missing'])}" if compared["missing"] else ""
    return told + missing
