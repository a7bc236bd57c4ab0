"""The manifest: what is in a backup, and the numbers that prove it. JSON, ``schema: 1``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict, cast

from ..errors import BadBackupError
from ..findings import Finding, finding

if TYPE_CHECKING:  # listings need no inspector
    from ..stream.inspector import Report

SCHEMA = 1
#: tables that are named where two manifests differ
_MOST_NAMED = 10


class TableRecord(TypedDict):
    """The rows of one table: how many, their bytes in the dump, and their hash (hexadecimal)."""

    rows: int
    bytes: int
    sha256: str


class ServerIdentity(TypedDict, total=False):
    """Whose backup it is, and where it was taken."""

    name: str
    host: str
    port: int
    container: str
    system_identifier: str
    #: when the postmaster started, in microseconds since 1970; see ``machine/identity``
    started: str
    #: the machine that took the backup: a hash of its id, and its name
    machine: str
    machine_name: str
    #: when the first backup of this server was taken from there, a timestamp
    since: str


class Locale(TypedDict):
    """How a database sorts and classifies letters; ``locale`` and ``icu_rules`` of ICU and the
    builtin provider.
    """

    provider: str
    collate: str
    ctype: str
    locale: str | None
    icu_rules: str | None


class Extension(TypedDict):
    name: str
    version: str
    schema: str


class Privilege(TypedDict):
    """One grant on a database; ``role`` is empty for everybody."""

    role: str
    privilege: str
    grantable: bool
    grantor: str | None


class DatabaseSetting(TypedDict):
    """``ALTER DATABASE ... SET`` or, with a role, ``ALTER ROLE ... IN DATABASE ... SET``.

    ``setting`` is ``name=value``.
    """

    role: str
    setting: str


class Encryption(TypedDict):
    kind: str
    recipients: list[str]


class GlobalsRecord(TypedDict):
    """The object with roles and memberships that belongs to a backup; ``passwords``: their hashes
    are in it.
    """

    key: str
    bytes: int
    passwords: bool


class Proof(TypedDict):
    """Somebody read the backup to its end, and it was what the manifest says.

    ``kind``: how it was proven, ``verify``. ``by``: the server that did it.
    """

    kind: str
    at: str
    by: str


class _Required(TypedDict):
    name: str
    database: str
    server: ServerIdentity
    bytes: int
    dump_bytes: int
    rows: int
    sha256: str
    tables: dict[str, TableRecord]


class Manifest(_Required, total=False):
    """A manifest as :func:`parse` returns it: the first eight are always there.

    Backups that were adopted or verified have no more than can be known without their server.
    """

    schema: int
    started_at: str
    ended_at: str | None
    seconds: float | None
    postgresql_version: str
    pg_dump_version: str
    encoding: str
    locale: Locale
    owner: str
    comment: str | None
    connection_limit: int
    tablespace: str | None
    extensions: list[Extension]
    roles: list[str]
    settings: list[DatabaseSetting]
    privileges: list[Privilege] | None
    format: str
    compression: str
    encryption: Encryption | None
    partial: str
    database_bytes: int | None
    dump_sha256: str
    schema_sha256: str
    globals: GlobalsRecord | None
    large_objects: int
    proofs: list[Proof]
    adopted: bool
    #: tables that may lack rows although the dump ended well
    rewritten: list[str]


class FolderRecord(TypedDict):
    """Files and links in a folder of a kit, at any depth, and their bytes."""

    files: int
    bytes: int


class _KitRequired(TypedDict):
    server: ServerIdentity
    bytes: int
    sha256: str


class KitManifest(_KitRequired, total=False):
    """The manifest of a server kit: the first three, and the server's name, are always there.

    ``file_bytes``: of the files; ``tar_bytes``: of the archive; ``bytes``: of the object.
    """

    schema: int
    name: str
    paths: list[str]
    started_at: str
    ended_at: str
    files: int
    file_bytes: int
    tar_bytes: int
    tar_sha256: str
    encryption: Encryption | None
    #: each of the paths, and the largest folders a little below them
    folders: dict[str, FolderRecord]
    #: it held far less than the one before
    fell_short: bool


#: what every manifest has, and of which kind; whoever reads one relies on it
_REQUIRED = {
    "name": str,
    "database": str,
    "server": dict,
    "bytes": int,
    "dump_bytes": int,
    "rows": int,
    "sha256": str,
    "tables": dict,
}


def dump(manifest: Manifest | KitManifest) -> bytes:
    """As bytes for the store; the same manifest gives the same bytes."""
    whole = {"schema": SCHEMA, **manifest}
    text = json.dumps(whole, indent=1, ensure_ascii=False) + "\n"
    # text of a database in SQL_ASCII may hold bytes that are no letters: as JSON escapes them
    return text.encode(errors="backslashreplace")


def parse(data: bytes, key: str) -> Manifest:
    """A manifest from the store.

    :raises BadBackupError: it is not JSON, of a newer schema, or lacks what every manifest has.
    """
    try:
        read: object = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _damaged(key, str(error)) from None
    fields = read if isinstance(read, dict) else {}
    version = fields.get("schema")
    if isinstance(version, int) and version > SCHEMA:
        raise BadBackupError(
            f"The manifest {key} has schema {version}; this program reads {SCHEMA}",
            "Use the version of postgres-backup that wrote it, or a newer one",
            [finding("MANIFEST_NEWER", f"schema {version}")],
        )
    if version != SCHEMA:
        raise _damaged(key, "it is not one of ours")
    wrong = [name for name, kind in _REQUIRED.items() if not isinstance(fields.get(name), kind)]
    if "tables" not in wrong:
        tables = fields["tables"].items()
        wrong += [f"tables.{name}" for name, record in tables if not _is_table(record)][:3]
    if wrong:
        raise _damaged(key, f"no sensible {', '.join(wrong)}")
    return cast(Manifest, fields)  # what whoever reads one relies on was looked at


def _is_table(record: object) -> bool:
    return (
        isinstance(record, dict)
        and isinstance(record.get("rows"), int)
        and isinstance(record.get("sha256"), str)
    )


def may_lack_rows(tables: Sequence[str]) -> str:
    """What is wrong with a backup whose manifest names ``rewritten`` tables."""
    more = f" and {len(tables) - 3} more" if len(tables) > 3 else ""
    return (
        f"{', '.join(tables[:3])}{more}: emptied or rewritten while the dump waited for it, "
        "so rows may be missing"
    )


def _damaged(key: str, why: str) -> BadBackupError:
    return BadBackupError(
        f"The manifest {key} is damaged: {why}",
        "The backup itself may be whole: postgres-backup verify <file>",
        [finding("MANIFEST_DAMAGED", why)],
    )


def tables_of(report: Report) -> dict[str, TableRecord]:
    """The tables of an inspector's report as they stand in a manifest, by qualified name."""
    return {
        name: {"rows": table.rows, "bytes": table.bytes, "sha256": table.sha256}
        for name, table in sorted(report.tables.items())
    }


def differences(
    expected: Mapping[str, TableRecord], actual: Mapping[str, TableRecord]
) -> list[Finding]:
    """Where two sets of tables differ, as findings: a few, then one that counts the rest."""
    findings = []
    for name in sorted(expected.keys() | actual.keys()):
        want, got = expected.get(name), actual.get(name)
        if want is None:
            findings.append(finding("TABLE_UNEXPECTED", f"{name} is not in the manifest"))
        elif got is None:
            findings.append(finding("TABLE_MISSING", f"{name} with {want['rows']} rows is missing"))
        elif want["rows"] != got["rows"]:
            findings.append(
                finding(
                    "ROWS_DIFFER",
                    f"{name} has {got['rows']} rows, the manifest says {want['rows']}",
                )
            )
        elif want["sha256"] != got["sha256"]:
            findings.append(
                finding("DATA_DIFFERS", f"{name} has the right number of rows, but other data")
            )
    if len(findings) > _MOST_NAMED:
        findings[_MOST_NAMED:] = [finding("MORE", f"and {len(findings) - _MOST_NAMED} more tables")]
    return findings
