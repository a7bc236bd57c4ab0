"""What a drill checks, and how grave each of its findings is. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypedDict, get_args

from ..findings import Finding, finding

#: from the gravest
Level = Literal["failed", "warning", "note"]
LEVELS: tuple[Level, ...] = get_args(Level)
#: of a check: as its gravest finding says; ``unchecked``: nobody could look, and it counts as
#: passed nowhere
Outcome = Literal["passed", "note", "warning", "failed", "unchecked"]

#: the checks in the order in which they are made, and what each asks; queries of the user come
#: behind them
CHECKS = {
    "signature": "is it this server's, of this database, and signed by whom we trust",
    "server": "has the server version, room, rights and locale for it",
    "roles": "are all roles there that it refers to",
    "whole": "is the object what was uploaded, to its last byte",
    "load": "does every statement of it run",
    "rows": "are there as many rows in each table as there were",
    "content": "are they the same rows",
    "schema": "do its definitions read the same",
    "settings": "has the database its owner, settings and rights",
    "extensions": "are its extensions there, as they were",
    "owners": "does every object belong to whom it belonged",
    "privileges": "has everybody the rights that they had",
    "sequences": "does every sequence stand behind the column that it fills",
    "constraints": "is every constraint validated",
    "collations": "does the server sort as the live database thinks",
    "indexes": "are the indexes of the live database valid",
    "amcheck": "are they sound, as far as amcheck tells",
    "kit": "has the server kit all that a lost server needs, and can it be opened",
    "size": "is it as large as those before it let one expect",
    "time": "would a restore take no longer than it may",
}
#: code -> the check that it belongs to, and its level. What stands in no line here is a note of the
#: load.
TABLE: dict[str, tuple[str, Level]] = {
    # whose word it is
    "UNSIGNED": ("signature", "failed"),
    "SIGNED_BY_STRANGER": ("signature", "failed"),
    "SIGNATURE_WRONG": ("signature", "failed"),
    "MANIFEST_REPLACED": ("signature", "failed"),
    "MANIFEST_OF_ANOTHER": ("signature", "failed"),
    "FOREIGN_BACKUP": ("signature", "warning"),
    # what the server lacks
    "KEY_NOT_GIVEN": ("server", "failed"),
    "KEY_WRONG": ("server", "failed"),
    "VERSION_TOO_NEW": ("server", "failed"),
    "VERSION_TOO_OLD": ("server", "failed"),
    "PROGRAMS_ABSENT": ("server", "failed"),
    "LOCALE_ABSENT": ("server", "failed"),
    "RESTORE_NEEDS_RIGHTS": ("server", "failed"),
    "SWAP_IMPOSSIBLE": ("server", "failed"),
    "DISK_SHORT": ("server", "failed"),
    "CONNECTIONS_SHORT": ("server", "failed"),
    "DISK_NOT_CHECKED": ("server", "warning"),
    "TABLESPACE_MISSING": ("server", "warning"),
    "ROLE_ABSENT": ("roles", "failed"),
    "ROLES_WITH_POWER": ("roles", "warning"),
    "GLOBALS_LEFT_OUT": ("roles", "warning"),
    # the object
    "SIZE_DIFFERS": ("whole", "failed"),
    "MANIFEST_DAMAGED": ("whole", "failed"),
    "MANIFEST_UNREADABLE": ("whole", "failed"),
    "MANIFEST_NEWER": ("whole", "failed"),
    "OBJECT_SIZE": ("whole", "failed"),
    "OBJECT_ALTERED": ("whole", "failed"),
    "OBJECT_CHANGED": ("whole", "failed"),
    "COMPRESSION_TRUNCATED": ("whole", "failed"),
    "COMPRESSION_CORRUPT": ("whole", "failed"),
    "TRAILING_GARBAGE": ("whole", "failed"),
    "ENCRYPTION_CORRUPT": ("whole", "failed"),
    "TABLES_REWRITTEN": ("whole", "failed"),
    "ARCHIVE_DAMAGED": ("whole", "failed"),
    "HEADER_MISSING": ("whole", "failed"),
    "TRAILER_MISSING": ("whole", "failed"),
    "TRAILER_CUT": ("whole", "failed"),
    "TRAILER_NOT_LAST": ("whole", "failed"),
    "COPY_UNFINISHED": ("whole", "failed"),
    "STATEMENT_UNFINISHED": ("whole", "failed"),
    # what the load says
    "DRILL_BROKEN_OFF": ("load", "failed"),
    "DRILL_GAVE_WAY": ("load", "failed"),
    "SIDE_DATABASE_LEFT": ("load", "warning"),
    "RESTORE_NEEDS_SEARCH_PATH": ("load", "warning"),
    "SEARCH_PATH_USED": ("load", "warning"),
    "VIEW_NOT_FILLED": ("load", "warning"),
    "STATISTICS_NOT_GATHERED": ("load", "warning"),
    # what came out
    "BACKUP_EMPTY": ("rows", "failed"),
    "TABLE_MISSING": ("rows", "failed"),
    "TABLE_UNEXPECTED": ("rows", "failed"),
    "ROWS_DIFFER": ("rows", "failed"),
    "MORE": ("rows", "failed"),
    "UNPROVEN": ("rows", "warning"),
    "DATA_DIFFERS": ("content", "failed"),
    "ROWS_NOT_COMPARED": ("content", "failed"),
    "SCHEMA_DIFFERS": ("schema", "failed"),
    "SETTING_DIFFERS": ("settings", "failed"),
    "SETTING_LEFT_OUT": ("settings", "warning"),
    "ROLE_SETTING_LEFT_OUT": ("settings", "warning"),
    "PRIVILEGE_LEFT_OUT": ("settings", "warning"),
    "SETTINGS_WITH_POWER": ("settings", "warning"),
    "EXTENSION_ABSENT": ("extensions", "failed"),
    "EXTENSION_UNUSABLE": ("extensions", "failed"),
    "EXTENSION_DIFFERS": ("extensions", "warning"),
    "OWNERS_DIFFER": ("owners", "failed"),
    "PRIVILEGES_DIFFER": ("privileges", "failed"),
    "SEQUENCE_BEHIND": ("sequences", "failed"),
    "CONSTRAINT_NOT_VALIDATED": ("constraints", "warning"),
    "COLLATION_DIFFERS": ("collations", "warning"),
    "KIT_LACKS": ("kit", "failed"),
    "INDEX_INVALID": ("indexes", "warning"),
    "INDEX_CORRUPT": ("amcheck", "failed"),
    "SIZE_DROPPED": ("size", "warning"),
    "SIZE_JUMPED": ("size", "warning"),
    "ROWS_DROPPED": ("size", "warning"),
    "ROWS_JUMPED": ("size", "warning"),
    "RTO_EXCEEDED": ("time", "failed"),
    # the user's own
    "QUERY_FAILED": ("load", "failed"),
    "QUERY_DIFFERS": ("load", "failed"),
}
#: what says that nobody could look
UNKNOWN = ("NOT_CHECKED", "ROWS_NOT_COMPARED", "DISK_NOT_CHECKED", "UNPROVEN")
#: of which check a finding is that stands in no line
_ELSE: tuple[str, Level] = ("load", "note")


#: things that a message names
_NAMED = 5


class DrillFinding(Finding):
    """A finding of a drill: of which check, and how grave."""

    check: str
    level: Level


class Check(TypedDict):
    """One check and what came of it; ``says``: why it did not simply pass."""

    check: str
    outcome: Outcome
    says: list[str]


def judged(found: Finding, check: str = "") -> DrillFinding:
    """A finding with its level.

    :param check: whose it is, of a code that any check may have (``NOT_CHECKED``).
    """
    of, level = TABLE.get(found["code"], _ELSE)
    if found["code"] == "NOT_CHECKED":
        level = "warning"
    return {**found, "check": check or of, "level": level}


def stops(found: Finding) -> DrillFinding:
    """A finding of what ended the drill: whatever its code, it is no note."""
    return {**judged(found), "level": "failed"}


def at_or_above(findings: Sequence[DrillFinding], level: Level) -> list[DrillFinding]:
    """The findings that are as grave, or graver."""
    grave = LEVELS[: LEVELS.index(level) + 1]
    return [found for found in findings if found["level"] in grave]


def checks_of(
    findings: Sequence[DrillFinding], made: Sequence[str], names: Sequence[str] = tuple(CHECKS)
) -> list[Check]:
    """What came of every check.

    :param made: those that were made to their end.
    :param names: of the checks.
    """
    checks: list[Check] = []
    for name in names:
        own = [found for found in findings if found["check"] == name]
        outcome: Outcome = "passed" if name in made else "unchecked"
        worst = next((level for level in LEVELS if any(f["level"] == level for f in own)), None)
        if worst == "failed":
            outcome = "failed"
        elif any(found["code"] in UNKNOWN for found in own):
            outcome = "unchecked"
        elif worst and name in made:
            outcome = worst
        says = [f"{found['code']}: {found['message']}" for found in own]
        checks.append({"check": name, "outcome": outcome, "says": says})
    return checks


def unknown(name: str, why: str) -> Finding:
    """That something could not be looked at."""
    return finding("NOT_CHECKED", f"{name} could not be looked at: {why}")


def some(things: Sequence[str]) -> str:
    """The first of many."""
    more = f"; and {len(things) - _NAMED} more" if len(things) > _NAMED else ""
    return "; ".join(things[:_NAMED]) + more
