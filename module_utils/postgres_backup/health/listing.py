"""What backups there are, and which of them stay."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from typing import TypedDict

from ..catalog import partials
from ..catalog.backups import Backup, BackupLine, Catalog, newest_good
from ..catalog.listed_once import Listings
from ..catalog.owners import Owner, owners
from ..catalog.retention import Decision, Policy, plan, plan_parts
from ..clock import utc_now
from ..machine.identity import Mark
from ..postgresql.own import own_mark
from ..s3.store import Store
from ..settings import Settings
from ..text import human_age, human_bytes
from . import archiving, recovered_dumps, rows_gone, second_store

#: backups that a sentence names
_NAMED = 3


class ListedBackup(BackupLine):
    """A backup, and whether it stays (``keep``) or goes at the next prune, with the reason;
    ``copied``: it was seen in the second store, as this server remembers it (None: there is none).
    """

    keep: bool
    reason: str
    copied: bool | None


class _Listing(TypedDict):
    changed: bool
    backups: list[ListedBackup]
    #: how many nobody has signed, so that they wait for ``adopt``
    waiting: int
    #: what is kept beside them to recover any second from, for a person
    every_second: list[str]


class Listing(_Listing, total=False):
    """What :func:`look` returns."""

    #: where the settings do not say whose backups are asked for
    owners: list[Owner]
    #: the one that was asked for
    chosen: BackupLine
    #: what was copied to the second store last; where there is one
    second_store: second_store.Copied


def look(
    settings: Settings, database: str = "", backup: str = "", partial: bool = False
) -> Listing:
    """Every whole-database backup under the prefix, newest first.

    :param database: empty: all of the settings' databases; where the settings name none, of all
        that the bucket knows.
    :param backup: a name or ``latest``: which one is meant, and an error that names the nearest
        where there is none.
    :param partial: the parts of backups instead.
    """
    store = Store(settings)
    store.looks()
    store.check()
    now = utc_now()
    seconds: list[str] = []
    if not backup and not partial:
        seconds = archiving.lines(archiving.known(settings))
        seconds += recovered_dumps.lines(settings, store)
    result: Listing = {"changed": False, "backups": [], "waiting": 0, "every_second": seconds}
    listings = Listings(store)
    servers: dict[str, list[str]] = {}
    if not settings.databases or not settings.server_name:
        result["owners"] = owners(settings, store, listings)
        for owner in result["owners"]:
            servers.setdefault(owner["database"], []).append(owner["server"])
        known = tuple(servers)
        settings = dataclasses.replace(settings, databases=settings.databases or known)
    own = own_mark(settings) if settings.server_name else Mark()
    if backup:
        catalog = Catalog(settings, store, settings.for_database(database), own)
        result["chosen"] = catalog.resolve(backup).describe(now)
    seen: list[ListedBackup] = []
    for name in [settings.for_database(database)] if database else settings.databases:
        catalog = Catalog(settings, store, name, own, listings, servers.get(name))
        there = catalog.backups()
        for decision in _decisions(catalog, there, now, partial):
            seen.append(_listed(decision, name, now))
            result["waiting"] += decision.backup.unvouched and not partial
    # what lies under a shared prefix is seen by each database; it is listed once, by its owner
    # where it has one
    unique = {line["key"]: line for line in seen if line["ours"] or line["state"] != "foreign"}
    for line in seen:
        unique.setdefault(line["key"], line)
    result["backups"] = sorted(
        unique.values(), key=lambda line: (line["taken_at"], line["key"]), reverse=True
    )
    if settings.has_copy and not settings.is_copy and not partial:
        result["second_store"] = second_store.shown(settings)
        copied = result["second_store"].get("databases", {})
        for line in result["backups"]:
            lies = copied.get(line["database"])
            line["copied"] = lies is not None and line["backup"] in lies["backups"]
    return result


def _decisions(
    catalog: Catalog, there: Sequence[Backup], now: datetime, partial: bool
) -> list[Decision[Backup]]:
    """What the next prune would do."""
    settings = catalog.settings
    if partial:
        newest = newest_good(there)
        dated = newest.dated_at if newest else None
        parts = partials.look(catalog, there).parts
        return plan_parts(parts, Policy.of(settings), now, dated, lambda part: part.held)
    held = rows_gone.holding(settings.server_name, catalog.database, there, now)
    return plan(there, Policy.of(settings), now, held)


def _listed(decision: Decision[Backup], database: str, now: datetime) -> ListedBackup:
    """A backup as ``database`` sees it: one that nobody owns may be its own."""
    line = decision.backup.describe(now)
    line["database"] = line["database"] or (database if decision.backup.candidate else "")
    return {**line, "keep": decision.keep, "reason": decision.reason, "copied": None}


def lines(seen: Listing, columns: int = 0) -> list[str]:
    """A listing for a person: before it whose backups there are where the settings
    do not say, and after it how many have no owner.

    :param columns: of the terminal, see :func:`table`.
    """
    waiting = (
        f"{seen['waiting']} of these nobody vouches for: `postgres-backup adopt` takes them"
        " over, or says why not"
    )
    return [
        *(owner_lines(seen["owners"]) if seen.get("owners") else []),
        *table(seen["backups"], columns),
        *([waiting] if seen["waiting"] else []),
        *_copied_lines(seen),
        *seen["every_second"],
    ]


def _copied_lines(seen: Listing) -> list[str]:
    """Which of these the second store has too."""
    if "second_store" not in seen:
        return []
    mine = [line for line in seen["backups"] if line["ours"]]
    lacks = [line["backup"] for line in mine if not line["copied"]]
    told = f"{len(mine) - len(lacks)} of these {len(mine)} are in the second store too"
    told += f"; not {', '.join(lacks[:_NAMED])}" if lacks else ""
    told += f" and {len(lacks) - _NAMED} more" if len(lacks) > _NAMED else ""
    return [f"{told}: postgres-backup list --from copy"]


def _state(line: ListedBackup) -> str:
    """How a backup is, and that nobody vouches for it, where the state does not say so itself."""
    told = {"unsigned": "unsigned", "stranger": "signed by a stranger"}.get(line["signature"])
    if not told or line["state"] in ("bad", "unsigned", "unproven"):
        told = ""
    words = proof_words(line) if line["state"] in ("proven", "good") else ""
    proven = f"({words})" if words else ""
    return " ".join(filter(None, [line["state"] + (f", {told}" if told else ""), proven]))


def proof_words(line: BackupLine) -> str:
    """How a backup was proven: ``restored on 2026-01-27``; empty where it was not."""
    if proof := line["proof"]:
        return f"{proof['kind']} on {proof['at'][:10]}"
    return f"object checked on {line['checked_at'][:10]}" if line["checked_at"] else ""


def table(backups: Sequence[ListedBackup], columns: int = 0) -> list[str]:
    """The backups of a listing for a person; the first line is the head.

    :param columns: of a terminal; where the table is wider, each backup has two lines. 0: no
        terminal.
    """
    if not backups:
        return ["There are no backups yet."]
    head = ("BACKUP", "DATABASE", "AGE", "SIZE", "ROWS", "STATE", "STAYS BECAUSE")
    rows = [head] + [
        (
            line["backup"],
            line["database"] or "?",
            human_age(line["age_hours"]),
            human_bytes(line["bytes"]),
            "?" if line["rows"] is None else f"{line['rows']:,}",
            _state(line),
            line["reason"] if line["keep"] else f"goes at the next prune: {line['reason']}",
        )
        for line in backups
    ]
    lines = _aligned(rows)
    if not 0 < columns < _width(lines):
        return lines
    # the names of encrypted ones are longer; those of some databases much longer
    heads = _aligned([row[:5] for row in rows])
    if _width(heads) > columns:
        heads = _aligned([row[:5] for row in rows], gap=1)
    counted = _width(heads) > columns
    if counted:
        heads = _aligned([row[:4] for row in rows])
    return [heads[0]] + [
        line
        for first, row in zip(heads[1:], rows[1:], strict=True)
        for line in (first, _below(row, counted))
    ]


def _below(row: Sequence[str], counted: bool) -> str:
    """The second line of a backup; ``counted``: with its rows, for which the first has no room."""
    rows = f"{row[4]} rows; " if counted else ""
    return f"  {rows}{row[5]}; {'' if row[6].startswith('goes') else 'stays: '}{row[6]}"


def _width(lines: Sequence[str]) -> int:
    return max(map(len, lines))


def _aligned(rows: Sequence[Sequence[str]], gap: int = 2) -> list[str]:
    """Columns one below the other; the last is as wide as it is."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        (" " * gap)
        .join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        .rstrip()
        for row in rows
    ]


def owner_lines(known: Sequence[Owner]) -> list[str]:
    """Whose backups there are, for a person who has nothing but the bucket, and what to set for a
    restore.
    """
    lines = [
        f"server {owner['server']}, database {owner['database']}: {owner['backups']} "
        f"backup{'s' if owner['backups'] > 1 else ''}, the newest {owner['newest']}"
        for owner in known
    ]
    advice = (
        "To restore them, give the server they go to these names: backup_server_name and "
        "backup_db_name (SERVER_NAME and DB_NAME)"
    )
    return [*lines, advice, ""]
