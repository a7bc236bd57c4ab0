"""The manifest: what is in a backup, and the numbers that prove it. JSON, ``schema: 2``; it
is written once. ``schema: 1`` (version 0.1.0) had no ``parts``, and was written anew for each proof
(``proofs``).

What each field may hold is said here, in its type; :mod:`reader` sees to it that nothing else is
ever read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, TypedDict, TypeVar, cast, get_type_hints

from ..errors import BadBackupError, PostgresBackupError
from ..findings import Finding, finding
from ..settings import MOST_PART_BYTES, S3_MAX_PARTS
from ..shapes.kinds import Moment, Most, Number, OneOf, Sha256, Text, Whole
from ..shapes.reader import Unfit, fitted, load

if TYPE_CHECKING:  # listings need no inspector
    from ..stream.inspector import Report

SCHEMA = 2
KIT_SCHEMA = 1
#: tables that are named where two manifests differ
_MOST_NAMED = 10
_Sha256 = Annotated[str, Sha256()]
#: empty where nobody reckoned it
_MaybeSha256 = Annotated[str, Text(64, "(?:[0-9a-f]{64})?")]
#: a name of PostgreSQL's: 63 bytes, or what a server was built for
_Name = Annotated[str, Text(255)]
#: two of them as ``pg_dump`` writes them, each letter of which may be a doubled quote
_TableName = Annotated[str, Text(1100)]
#: a locale, as an operating system or ICU calls it; none is a path
_LocaleName = Annotated[str, Text(255, "[^/]*")]
_When = Annotated[str, Moment()]
#: ``16.4``, ``17beta1``, ``15.4 (Debian 15.4-1)``; empty where nobody knows
_Version = Annotated[str, Text(255, r"(?:[0-9]{1,3}(?:[. a-z].*)?)?")]
#: tables, of which a manifest names more than of anything else
_MOST_TABLES = 125_000


class TableRecord(TypedDict):
    """The rows of one table: how many, their bytes in the dump, and their hash (hexadecimal)."""

    rows: Annotated[int, Whole()]
    bytes: Annotated[int, Whole()]
    sha256: _Sha256


class ServerIdentity(TypedDict, total=False):
    """Whose backup it is, and where it was taken."""

    name: str
    host: str
    port: Annotated[int, Whole(0, 65535)]
    container: str
    system_identifier: str
    #: when the postmaster started, in microseconds since 1970; see ``machine/identity``
    started: Annotated[str, Text(20, "[0-9]*")]
    #: the machine that took the backup: a hash of its id, and its name
    machine: Annotated[str, Text(64, "[0-9a-f]*")]
    machine_name: _Name
    #: when the first backup of this server was taken from there
    since: _When


class Locale(TypedDict, total=False):
    """How a database sorts and classifies letters; ``locale`` and ``icu_rules`` of ICU and the
    builtin provider.
    """

    provider: Annotated[str, OneOf("", "c", "i", "b")]
    collate: _LocaleName
    ctype: _LocaleName
    locale: _LocaleName | None
    icu_rules: Annotated[str, Text(100_000)] | None


class Extension(TypedDict):
    name: _Name
    version: _Name
    schema: _Name


class RightRecord(TypedDict):
    """Something that not everybody may make again; see ``postgresql/requirements``."""

    object: str
    takes: Annotated[str, OneOf("superuser", "member", "grantor")]
    role: _Name


class RemoteViewRecord(TypedDict):
    """A materialized view that reads foreign tables, and the servers that these are of."""

    view: str
    servers: list[_Name]


class _Privilege(TypedDict):
    role: _Name
    privilege: Annotated[str, OneOf("CREATE", "CONNECT", "TEMPORARY", "TEMP")]
    grantable: bool


class Privilege(_Privilege, total=False):
    """One grant on a database; ``role`` is empty for everybody; ``grantor`` is not always noted."""

    grantor: _Name | None


class DatabaseSetting(TypedDict):
    """``ALTER DATABASE ... SET`` or, with a role, ``ALTER ROLE ... IN DATABASE ... SET``.

    ``setting`` is ``name=value``.
    """

    role: _Name
    setting: Annotated[str, Text(100_000)]


class Encryption(TypedDict):
    kind: str
    recipients: Annotated[list[str], Most(1000)]


class _GlobalsRecord(TypedDict):
    key: str


class GlobalsRecord(_GlobalsRecord, total=False):
    """The object with roles and memberships that belongs to a backup; ``passwords``: their hashes
    are in it.
    """

    bytes: Annotated[int, Whole()]
    #: of the object
    sha256: _Sha256
    passwords: bool


class PartRecord(TypedDict):
    """A piece of the object, as it was uploaded. Whoever reads it holds a piece whole until its
    hash is reckoned; hence the bound.
    """

    bytes: Annotated[int, Whole(1, MOST_PART_BYTES)]
    sha256: _Sha256


class MemberRecord(TypedDict):
    """Where in the object a new gzip member or zstd frame begins, bytes. ``table``: it, up to the
    next one, holds the rows of this table and nothing else; empty: anything.
    """

    table: Annotated[str, Text(1100)]
    at: Annotated[int, Whole()]


class _Proof(TypedDict):
    kind: Annotated[str, Text(64)]
    at: _When


class Proof(_Proof, total=False):
    """Somebody read the backup to its end, and it was what the manifest says.

    ``kind``: how it was proven; ``verify`` in a manifest of schema 1. ``by``: the server that did
    it, where that is noted.
    """

    by: str


class PathNeed(TypedDict):
    """Something of the database that a load with an empty search_path cannot make.

    ``object``: as ``index public.art_slug``; ``said``: the server's words; ``mend``: statements
    after which it can, empty where none is known.
    """

    object: Annotated[str, Text(2500)]
    said: Annotated[str, Text(10_000)]
    mend: Annotated[str, Text(100_000)]


class ShareRecord(TypedDict):
    """What is one role's in the database, see ``postgresql/belongings``; ``role`` is empty for
    everybody, a hash where there is nothing.
    """

    role: _Name
    objects: Annotated[int, Whole()]
    objects_sha256: _MaybeSha256
    rights: Annotated[int, Whole()]
    rights_sha256: _MaybeSha256


class _Named(TypedDict):
    name: str
    database: _Name
    server: ServerIdentity
    bytes: Annotated[int, Whole()]
    dump_bytes: Annotated[int, Whole()]
    rows: Annotated[int, Whole()]
    sha256: _Sha256


class Described(_Named, total=False):
    """What a look at many backups asks of a manifest: what is small, whatever the database; the
    first seven are always there.
    """

    schema: Annotated[int, Whole(1, SCHEMA)]
    started_at: _When
    seconds: Annotated[float, Number()] | None
    postgresql_version: _Version
    locale: Locale
    format: Annotated[str, OneOf("plain", "custom")]
    partial: Annotated[str, Text(1_000_000)]
    globals: GlobalsRecord | None
    #: of schema 1 only; those of today are objects of their own, see ``catalog/proofs``
    proofs: list[Proof]
    adopted: bool
    #: tables that may lack rows although the dump ended well
    rewritten: Annotated[list[_TableName], Most(_MOST_TABLES)]
    #: what a restore makes with the database's own search_path only
    needs_search_path: Annotated[list[PathNeed], Most(1000)]


class _WithTables(Described):
    tables: Annotated[dict[_TableName, TableRecord], Most(_MOST_TABLES)]


class Manifest(_WithTables, total=False):
    """A manifest as :func:`parse` returns it: with what is always there of :class:`Described`, and
    its tables.

    Backups that were adopted or verified have no more than can be known without their server.
    """

    ended_at: _When | None
    pg_dump_version: Annotated[str, Text(255)]
    encoding: Annotated[str, Text(64, r"[A-Za-z0-9_ -]*")]
    owner: _Name
    comment: Annotated[str, Text(1_000_000)] | None
    connection_limit: Annotated[int, Whole(-1, 2**31 - 1)]
    tablespace: _Name | None
    extensions: list[Extension]
    roles: Annotated[list[_Name], Most(100_000)]
    settings: list[DatabaseSetting]
    privileges: list[Privilege] | None
    compression: Annotated[str, OneOf("gzip", "zstd", "none")]
    encryption: Encryption | None
    database_bytes: Annotated[int, Whole()] | None
    dump_sha256: _MaybeSha256
    schema_sha256: _MaybeSha256
    large_objects: Annotated[int, Whole()]
    #: tables of the dump that have no rows of their own in it: partitioned ones, and what an
    #: extension or a standby leaves out
    rowless: Annotated[list[_TableName], Most(_MOST_TABLES)]
    #: the pieces of the object in order
    parts: Annotated[list[PartRecord], Most(S3_MAX_PARTS)]
    #: places in the object where it may be read from, in order; of plain backups with tables above
    #: 16 MB
    members: Annotated[list[MemberRecord], Most(_MOST_TABLES)]
    #: what takes more than its owner's rights to make again
    rights: Annotated[list[RightRecord], Most(100_000)]
    #: who owns what in it, and who may do what
    shares: Annotated[list[ShareRecord], Most(100_000)]
    subscriptions: list[_Name]
    remote_views: list[RemoteViewRecord]


class KitServer(TypedDict):
    """Whose kit it is; always there."""

    name: str


class FolderRecord(TypedDict):
    """Files and links in a folder of a kit, at any depth, and their bytes."""

    files: Annotated[int, Whole()]
    bytes: Annotated[int, Whole()]


class _KitRequired(TypedDict):
    server: KitServer
    bytes: Annotated[int, Whole()]
    sha256: _Sha256


class KitManifest(_KitRequired, total=False):
    """The manifest of a server kit: the first three, and the server's name, are always there.

    ``file_bytes``: of the files; ``tar_bytes``: of the archive; ``bytes``: of the object.
    """

    schema: Annotated[int, Whole(1, KIT_SCHEMA)]
    name: str
    paths: list[str]
    started_at: _When
    ended_at: _When
    files: Annotated[int, Whole()]
    file_bytes: Annotated[int, Whole()]
    tar_bytes: Annotated[int, Whole()]
    tar_sha256: _MaybeSha256
    encryption: Encryption | None
    #: each of the paths, and the largest folders a little below them
    folders: dict[Annotated[str, Text(4096)], FolderRecord]
    #: it held far less than the one before
    fell_short: bool


def dump(manifest: Manifest) -> bytes:
    """As bytes for the store; the same manifest gives the same bytes."""
    return _dumped({"schema": SCHEMA, **manifest})


def dump_kit(manifest: KitManifest) -> bytes:
    """The manifest of a kit, in the same way."""
    return _dumped({"schema": KIT_SCHEMA, **manifest})


def _dumped(whole: Mapping[str, object]) -> bytes:
    text = json.dumps(whole, indent=1, ensure_ascii=False) + "\n"
    # text of a database in SQL_ASCII may hold bytes that are no letters: as JSON escapes them
    return text.encode(errors="backslashreplace")


def parse(data: bytes, key: str) -> Manifest:
    """A manifest from the store.

    :raises BadBackupError: it is not JSON, of a newer schema, or a field does not hold what such a
        field may.
    """
    try:
        fields = load(data)
        _require_schema(fields.get("schema"), SCHEMA, key)
        manifest = fitted(fields, Manifest)
        parts = manifest.get("parts")
        if parts is not None and sum(part["bytes"] for part in parts) != manifest["bytes"]:
            raise Unfit("its parts are not as many bytes as the object")
        return manifest
    except Unfit as error:
        raise _damaged(key, str(error)) from None


def parse_kit(data: bytes, key: str) -> KitManifest:
    """The manifest of a kit, in the same way.

    :raises BadBackupError: as :func:`parse`.
    """
    try:
        fields = load(data)
        _require_schema(fields.get("schema", KIT_SCHEMA), KIT_SCHEMA, key)
        return fitted(fields, KitManifest)
    except Unfit as error:
        raise _damaged(key, str(error)) from None


def unreadable(key: str, why: PostgresBackupError) -> BadBackupError:
    """The store does not hand out a manifest; nothing is known of what it tells of."""
    return BadBackupError(
        f"The manifest {key} cannot be read: {why.message}",
        why.hint or "Ask who else has a key to the bucket",
        [finding("MANIFEST_UNREADABLE", why.message)],
    )


def listed_only(key: str) -> BadBackupError:
    """The store lists a manifest, and has none when it is asked for it."""
    return _not_as_seen(key, "MANIFEST_UNREADABLE", "the store lists it, and does not have it")


def replaced(key: str) -> BadBackupError:
    """Another lies under the key of a manifest than was seen there a moment ago."""
    return _not_as_seen(key, "MANIFEST_REPLACED", "another was put in its place just now")


def _not_as_seen(key: str, code: str, why: str) -> BadBackupError:
    return BadBackupError(
        f"The manifest {key} cannot be read: {why}",
        "Wait, and try again; if it lasts, ask the provider, and who else has a key to the bucket",
        [finding(code, why)],
    )


_IN_SHORT = tuple(get_type_hints(Described))


def in_short(manifest: Manifest) -> Described:
    """The fields that a look at many backups asks for."""
    known: Mapping[str, object] = manifest
    return cast(Described, {name: known[name] for name in _IN_SHORT if name in known})


M = TypeVar("M", Manifest, KitManifest)


def answer(
    key: str, data: bytes | PostgresBackupError | None, read: Callable[[bytes, str], M]
) -> M | BadBackupError | None:
    """What ``Store.get_many`` found under the key of a manifest: it, what is wrong with it (so that
    one spoiled object hides no other), or None where it has gone.

    :param read: :func:`parse` or :func:`parse_kit`.
    """
    if data is None:
        return None
    if isinstance(data, PostgresBackupError):
        return unreadable(key, data)
    try:
        return read(data, key)
    except BadBackupError as error:
        return error


def _require_schema(version: object, newest: int, key: str) -> None:
    if isinstance(version, int) and version > newest:
        told = str(version) if version < 1000 else "of another kind"
        raise BadBackupError(
            f"The manifest {key} has schema {told}; this program reads {newest}",
            "Use the version of postgres-backup that wrote it, or a newer one",
            [finding("MANIFEST_NEWER", f"schema {told}")],
        )
    if type(version) is not int or version < 1:
        raise Unfit("it is not one of ours")


def major_of(version: str) -> int:
    """16 of ``16.4`` and of ``16beta1``; 0 where nobody knows."""
    digits = re.match("[0-9]+", version)
    return int(digits[0]) if digits else 0


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
