"""Make a cluster be archived: everything is tried before PostgreSQL is told to hand on what it
writes, for a command that fails would fill its disk.
"""

from __future__ import annotations

import os
import secrets
import urllib.parse
from typing import TypedDict

from ..errors import PostgresBackupError, UsageError
from ..findings import Finding
from ..machine.patience import wait_until
from ..postgresql.connection import connect
from ..settings import Settings
from . import cluster as clusters
from . import engine, own_files, places, repository, texts
from .cluster import Cluster

#: processes at most: more gain nothing against one store
_MOST_PROCESSES = 8
#: bytes of a key
_KEY_BYTES = 48
#: what PostgreSQL has as ``archive_command`` where nobody has set one
_NO_COMMAND = ("", "(disabled)")
#: seconds that PostgreSQL takes to read its settings again
_PATIENCE = 30


class Difference(TypedDict):
    """As ``--diff`` shows it; without secrets."""

    before: str
    after: str
    before_header: str
    after_header: str


class Prepared(TypedDict):
    """What was done, or would be.

    :ivar archive: the path in the bucket; empty in a container, whose own config says it.
    :ivar unit: PostgreSQL's service; empty in a container.
    :ivar restart_needed: PostgreSQL hands on nothing before it is started anew.
    :ivar key_made: a key was made for this archive, which nobody else has yet.
    """

    changed: bool
    archive: str
    unit: str
    restart_needed: bool
    key_made: bool
    diff: list[Difference]
    findings: list[Finding]


def prepare(settings: Settings, cipher_key: str, check: bool) -> Prepared:
    """Lay the engine's config, make the archive and tell PostgreSQL.

    :param cipher_key: of the archive, as the Vault has it; empty: the one that is here, or a new
        one.
    :param check: touch nothing, say what would be done.
    :raises UsageError: it cannot be done here; nothing was touched.
    :raises StoreError: the store does not answer, or refuses; PostgreSQL is as it was.
    """
    found = clusters.ask(settings)
    version = engine.version(settings)
    if settings.db_container:
        return _begin_inside(settings, found, check)
    require_possible(settings, found, version)
    key, made = _key(cipher_key, check)
    archive = places.in_bucket(settings, found.system_identifier)
    wanted = config_text(settings, archive, found.data_directory, key, version)
    here = own_files.read(places.CONFIG)
    diff = []
    if here != wanted:
        diff.append(
            _difference(places.CONFIG, texts.without_secrets(here), texts.without_secrets(wanted))
        )
    diff += _prove_config(settings, wanted, check)
    diff += _tell_postgresql(settings, found, check)
    return {
        "changed": bool(diff) or made,
        "archive": archive,
        "unit": found.unit,
        "restart_needed": not found.archives,
        "key_made": made,
        "diff": diff,
        "findings": [],
    }


def _begin_inside(settings: Settings, found: Cluster, check: bool) -> Prepared:
    """In a container all of it is there already, or it is its owner's to bring: a setup does not
    start somebody's application anew. Only the archive itself may be missing.

    :raises UsageError: something else is.
    """
    clusters.require_archived(settings, found)
    diff = _make_archive(settings, check)
    return {
        "changed": bool(diff),
        "archive": "",
        "unit": "",
        "restart_needed": False,
        "key_made": False,
        "diff": diff,
        "findings": [],
    }


def config_text(
    settings: Settings, archive: str, data_directory: str, key: str, version: tuple[int, ...]
) -> str:
    """The engine's config for this machine: see :func:`.texts.engine_config`."""
    processes = min(_MOST_PROCESSES, max(1, len(os.sched_getaffinity(0))))
    spool = places.spool(settings, data_directory)
    return texts.engine_config(settings, archive, data_directory, key, version, processes, spool)


def require_possible(settings: Settings, found: Cluster, version: tuple[int, ...]) -> None:
    """:raises UsageError: this server, or this store, is none for point-in-time recovery."""
    ours = found.archive_command in _NO_COMMAND or clusters.is_archived_by_us(settings, found)
    if found.archive_library or (not ours and found.archives):
        other = found.archive_library or found.archive_command
        raise UsageError(
            f"PostgreSQL archives already, by something else: {other!r}",
            "Let that go first (archive_command, archive_library), or set backup_pitr: false",
        )
    if found.wal_level == "minimal":
        raise UsageError(
            "PostgreSQL writes too little into its log for a recovery: wal_level is minimal",
            "Set wal_level = replica in postgresql.conf, and start PostgreSQL anew",
        )
    require_reachable(settings, version)


def require_reachable(settings: Settings, version: tuple[int, ...]) -> None:
    """:raises UsageError: the store is none that the engine finds."""
    address = urllib.parse.urlsplit(settings.s3_endpoint_url)
    if address.scheme != "https":
        raise UsageError(
            f"Point-in-time recovery takes a store over https, and not {settings.s3_endpoint_url}",
            "Set backup_s3_endpoint_url to its address with https://, or backup_pitr: false",
        )
    if address.path.strip("/"):
        raise UsageError(
            f"Point-in-time recovery takes a store at the root of an address, and not at "
            f"{settings.s3_endpoint_url}",
            "Set backup_s3_endpoint_url to an address without a path, or backup_pitr: false",
        )
    host = address.hostname or ""
    if version < engine.BY_ADDRESS and host.replace(".", "").isdigit():
        raise UsageError(
            f"The pgBackRest of this system finds a store by its name, and not by {host}",
            "Give the store a name (/etc/hosts will do), and set backup_s3_endpoint_url to it",
        )


def _key(wanted: str, check: bool) -> tuple[str, bool]:
    """The key of the archive, and whether it is new."""
    have = own_files.read(places.CIPHER_KEY).strip()
    if have and wanted and have != wanted:
        raise UsageError(
            "backup_pitr_cipher_key is not the key by which this archive is encrypted",
            f"Take the one that this server has in {places.CIPHER_KEY}, or leave it unset",
        )
    if have:
        return have, False
    key = wanted or secrets.token_urlsafe(_KEY_BYTES)
    if not check:
        own_files.write(places.CIPHER_KEY, key + "\n", 0o600)
    return key, True


def _prove_config(settings: Settings, wanted: str, check: bool) -> list[Difference]:
    """The config takes the place of the old one when the archive was reached by it."""
    if check:
        return []
    beside = f"{places.CONFIG}.tried"
    own_files.write(beside, wanted, 0o600)
    try:
        made = _make_archive(settings, check, beside)
        os.replace(beside, places.CONFIG)
    except BaseException:
        os.unlink(beside)
        raise
    return made


def _make_archive(settings: Settings, check: bool, config: str = "") -> list[Difference]:
    """What there is already stays as it is.

    :param config: of the engine, that is tried; empty: the usual one.
    """
    before = repository.look(settings, config)
    if before.code not in (repository.WELL, repository.EMPTY) and not check:
        # says what is wrong, where something is
        failing = "Failed to prepare the archive: "
        engine.call(settings, failing, "stanza-create", engine.SOON, config=config)
    if before.code not in repository.MISSING:
        return []
    return [_difference("the archive in the bucket", "", "made\n")]


def _tell_postgresql(settings: Settings, found: Cluster, check: bool) -> list[Difference]:
    """Lay its settings and let it read them."""
    path = os.path.join(found.conf_d, places.CONF_D)
    wanted, here = texts.postgresql_conf(settings.pitr_rpo_seconds), own_files.read(path)
    if here != wanted and not check:
        own_files.write(path, wanted, 0o644)
        try:
            _reload(settings, path)
        except BaseException:
            if here:
                own_files.write(path, here, 0o644)
            else:
                os.unlink(path)
            raise
    return [_difference(path, here, wanted)] if here != wanted else []


def _reload(settings: Settings, path: str) -> None:
    """:raises UsageError: PostgreSQL does not read the file, or another says otherwise."""
    with connect(settings, "postgres") as connection:
        seen = connection.execute(
            "SELECT name, error FROM pg_catalog.pg_file_settings"
            " WHERE sourcefile = %s AND name = 'archive_command'",
            (path,),
        ).fetchall()
        other = connection.execute(
            "SELECT DISTINCT sourcefile FROM pg_catalog.pg_file_settings WHERE sourcefile <> %s"
            " AND name IN ('archive_command', 'archive_mode', 'archive_timeout')"
            " AND seqno > (SELECT max(seqno) FROM pg_catalog.pg_file_settings"
            "   WHERE sourcefile = %s)",
            (path, path),
        ).fetchall()
        if not seen:
            raise UsageError(
                f"PostgreSQL does not read {path}",
                "Let its postgresql.conf say: include_dir = 'conf.d'",
            )
        if other:
            raise UsageError(
                f"Other settings stand above those of {path}: {other[0][0]} says how to archive",
                "Take archive_mode, archive_command and archive_timeout out of it "
                "(ALTER SYSTEM RESET ...)",
            )
        connection.execute("SELECT pg_catalog.pg_reload_conf()")

    def is_told() -> bool:
        with connect(settings, "postgres") as fresh:
            now = clusters.facts_of(settings, fresh)
        return clusters.is_archived_by_us(settings, now) or not now.archives

    if not wait_until(is_told, _PATIENCE):
        raise PostgresBackupError(
            f"PostgreSQL has read {path}, and archives by another command all the same",
            "Look at what its service or its log says: journalctl -u 'postgresql@*'",
        )


def _difference(path: str, before: str, after: str) -> Difference:
    return {"before": before, "after": after, "before_header": path, "after_header": path}


def lines(result: Prepared, check: bool) -> list[str]:
    """What that says to a person."""
    told = []
    if result["key_made"] and not check:
        told.append(f"The archive is encrypted by a new key, which lies in {places.CIPHER_KEY}")
    if result["restart_needed"]:
        told.append(
            f"PostgreSQL archives from its next start on: systemctl restart {result['unit']}, or "
            "-e backup_pitr_allow_restart=true, which takes some seconds"
        )
    where = result["archive"] or "where the container's own config says"
    return told or [f"Everything that is written goes to {where}"]
