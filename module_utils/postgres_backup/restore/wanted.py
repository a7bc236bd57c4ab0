"""What a restored database is going to be beside its content: owner, encoding, locale, tablespace,
settings and privileges.
"""

from __future__ import annotations

import dataclasses

import psycopg

from ..catalog.manifest import Manifest
from ..findings import Finding, finding
from ..postgresql import parameters
from ..postgresql.connection import row
from ..postgresql.facts import DatabaseFacts, DatabaseSetting, Grant
from ..postgresql.mark import own_comment
from ..settings import Settings


@dataclasses.dataclass(frozen=True)
class _Tablespace:
    usual: bool


_TABLESPACE = """
SELECT t.oid = d.dattablespace AS usual FROM pg_tablespace t, pg_database d
WHERE t.spcname = %s AND d.datname = 'template0'"""


def wanted_facts(
    connection: psycopg.Connection, settings: Settings, known: Manifest, live: DatabaseFacts | None
) -> tuple[DatabaseFacts, list[Finding]]:
    """As in the manifest; for backups without one as the live database; for neither, the server's
    defaults. And findings.

    It lies in the live database's tablespace, where there is a live one: that is where this server
    has room for it.
    """
    facts = live or DatabaseFacts(owner=settings.db_user)
    if known.get("locale"):
        facts = _of_manifest(known, facts.owner)
    place = live.tablespace if live else known.get("tablespace")
    there = row(connection, _Tablespace, _TABLESPACE, (place,))
    # the usual one goes without saying: who names it needs a right to it
    tablespace = place if there and not there.usual else None
    facts = dataclasses.replace(facts, tablespace=tablespace)
    if place and not there:
        return facts, [
            finding(
                "TABLESPACE_MISSING",
                f"the server has no tablespace {place}: the database goes into the default one",
            )
        ]
    return facts, []


def _of_manifest(known: Manifest, owner: str) -> DatabaseFacts:
    locale, privileges = known["locale"], known.get("privileges")
    return DatabaseFacts(
        owner=known.get("owner") or owner,
        encoding=known.get("encoding", ""),
        collate=locale.get("collate", ""),
        ctype=locale.get("ctype", ""),
        provider=locale.get("provider", ""),
        locale=locale.get("locale"),
        icu_rules=locale.get("icu_rules"),
        # version 0.1.0 saved our own mark, where a kept database was renamed back by hand
        comment=own_comment(known.get("comment")),
        connection_limit=known.get("connection_limit", -1),
        grants=None
        if privileges is None
        else tuple(
            Grant(right["role"], right["privilege"], right["grantable"], right.get("grantor"))
            for right in privileges
        ),
        settings=tuple(
            DatabaseSetting(setting["role"], setting["setting"])
            for setting in known.get("settings", [])
        ),
    )


def powerful_settings(wanted: DatabaseFacts) -> list[Finding]:
    """Settings that would give power over the server; empty where there are none."""
    names = [setting.setting.partition("=")[0] for setting in wanted.settings]
    powerful = sorted({name for name in names if parameters.is_powerful(name)})
    if not powerful:
        return []
    return [
        finding(
            "SETTINGS_WITH_POWER",
            "The database gets settings that load or run code, or change in whose name it runs: "
            f"{', '.join(powerful)}",
        )
    ]
