"""The archive of a lost server, found and read on the machine that takes its place."""

from __future__ import annotations

import dataclasses
import os
import re
from typing import TypedDict, final

from ..clock import format_timestamp
from ..errors import UsageError
from ..findings import Finding
from ..s3.store import Store
from ..settings import Settings
from ..text import human_bytes
from . import (
    at_rest,
    boxed,
    docker,
    engine,
    lost,
    own_files,
    places,
    prepare,
    repository,
    volumes,
)
from .repository import Repository
from .target import Target

#: what tells one cluster from all others
_IDENTIFIER = re.compile(r"[0-9]{15,20}")
#: other servers that a sentence names
_NAMED = 5


@final
class Found(TypedDict):
    """The archive of the lost server.

    :ivar archive: its path in the bucket, empty where a container's own config says it;
        ``system_identifier`` of the cluster.
    :ivar major: of PostgreSQL that wrote it.
    :ivar label: the newest backup, or the one to begin from, which ended at ``ended``; ``bytes`` of
        the cluster.
    :ivar older: how many other archives of that server there are, of clusters before.
    """

    changed: bool
    archive: str
    system_identifier: str
    major: int
    label: str
    ended: str
    bytes: int
    older: int
    findings: list[Finding]


def find(settings: Settings, cipher_key: str, target_time: str = "", container: str = "") -> Found:
    """Find and read the archive, and lay the engine's config for it; nothing else is touched. Of a
    PostgreSQL in a container that is laid already, and says where the archive is.

    :param cipher_key: by which it is encrypted, as the Vault has it; in a container its own config
        has it.
    :param target_time: a moment with its zone that there must be a way to; empty: the last.
    :param container: of the service of PostgreSQL, which is asked in the place of its own one, that
        does not run yet.
    :raises UsageError: there is none, it cannot be read, or not be recovered here.
    :raises StoreError: the store does not answer, or refuses.
    """
    until = lost.wanted(target_time)
    if settings.db_container:
        return _find_inside(settings, container or settings.db_container, until)
    version = engine.version(settings)
    prepare.require_reachable(settings, version)
    identifiers = _of_server(settings)
    if not cipher_key:
        raise UsageError(
            f"The archive of {settings.server_name} is encrypted, and backup_pitr_cipher_key is "
            "not set",
            "setup.yml has put it beside the inventory, as host_vars/HOST/pitr_key.yml: put that "
            "file back. Without it there are the nightly dumps: leave -e from=pitr out",
        )
    for number, identifier in enumerate(identifiers):
        archive = places.in_bucket(settings, identifier)
        nowhere = "/nonexistent"
        text = prepare.config_text(settings, archive, nowhere, cipher_key, version)
        there = _read(settings, text)
        newest = there.newest
        if newest is None:  # one that was begun and never had a backup
            continue
        _require_major(settings, there.major)
        data = f"/var/lib/postgresql/{there.major}/main"
        text = prepare.config_text(settings, archive, data, cipher_key, version)
        own_files.write(places.CIPHER_KEY, cipher_key + "\n", 0o600)
        own_files.write(places.CONFIG, text, 0o600)
        if target_time:
            newest, _ = lost.choose(settings, until)
        return {
            "changed": True,
            "archive": archive,
            "system_identifier": identifier,
            "major": there.major,
            "label": newest.label,
            "ended": format_timestamp(newest.ended),
            "bytes": newest.bytes,
            "older": len(identifiers) - number - 1,
            "findings": [],
        }
    raise _without_backup(settings)


def _find_inside(settings: Settings, container: str, until: Target) -> Found:
    """As the config says that is mounted into a container of the service.

    :raises UsageError: there is none, it cannot be read, or not be recovered there.
    """
    inside = dataclasses.replace(settings, db_container=container)
    engine.version(inside)
    failing = f"Failed to look into the container {container}: "
    if data := boxed.printed(inside, failing, "sh", "-c", 'echo "${PGDATA:-}"').strip():
        volumes.place_of(settings, docker.ask(inside), data)
    there = repository.look(inside)
    if there.code not in (repository.WELL, repository.EMPTY):
        raise UsageError(
            f"The archive of {settings.server_name} cannot be read by the pgbackrest.conf of "
            f"{settings.db_container}: {there.message}",
            "Put back the file that the lost server had (repo1-path, repo1-cipher-pass, the key of "
            f"the store; readable for PostgreSQL's user in there: {boxed.PAGE}); or leave "
            "-e from=pitr out: there are the nightly dumps",
        )
    newest = there.newest
    if newest is None:
        raise _without_backup(settings)
    told = boxed.printed(inside, failing, "postgres", "--version")
    found = re.search(r"\(PostgreSQL\) (\d+)", told)
    if not found or int(found[1]) != there.major:
        raise UsageError(
            f"The image of {settings.db_container} has PostgreSQL {found[1] if found else '?'}, "
            f"and the archive is of PostgreSQL {there.major}: pieces of its log say nothing to "
            "another major",
            "Name the image that the lost server had in compose.yml, or leave -e from=pitr out: a "
            "nightly dump goes into any newer major",
        )
    if until.kind != "latest":
        newest, _ = lost.choose(inside, until)
    return {
        "changed": True,
        "archive": "",
        "system_identifier": there.system_identifier,
        "major": there.major,
        "label": newest.label,
        "ended": format_timestamp(newest.ended),
        "bytes": newest.bytes,
        "older": 0,
        "findings": [],
    }


def _without_backup(settings: Settings) -> UsageError:
    return UsageError(
        f"The archive of {settings.server_name} holds no backup of a cluster",
        "There are the nightly dumps: leave -e from=pitr out",
    )


def _of_server(settings: Settings) -> list[str]:
    """The clusters of this server that have an archive, the one that was written to last first.

    :raises UsageError: there is none.
    """
    store = Store(settings)
    found: set[str] = set()
    prefix = places.of_server(settings)
    list(store.list(prefix, "/", folders=found))
    names = [one.removeprefix(prefix).strip("/") for one in found]
    identifiers = [name for name in names if _IDENTIFIER.fullmatch(name)]
    if not identifiers:
        others: set[str] = set()
        above = places.all_in_bucket(settings)
        list(store.list(above, "/", folders=others))
        known = sorted(one.removeprefix(above).strip("/") for one in others)[:_NAMED]
        raise UsageError(
            f"There is no archive of {settings.server_name} in the bucket; there are: "
            f"{', '.join(known) or 'none'}",
            "Is it the name that the lost server had (backup_server_name)? There are the nightly "
            "dumps: leave -e from=pitr out",
        )

    def written(identifier: str) -> float:
        head = store.head(f"{prefix}{identifier}/backup/{places.STANZA}/backup.info")
        return head.modified.timestamp() if head and head.modified else 0.0

    return sorted(identifiers, key=written, reverse=True)


def _read(settings: Settings, text: str) -> Repository:
    """:raises UsageError: it cannot be read by that key."""
    beside = f"{places.CONFIG}.tried"
    own_files.write(beside, text, 0o600)
    try:
        there = repository.look(settings, beside)
    finally:
        os.unlink(beside)
    if there.code in (repository.WELL, repository.EMPTY, *repository.MISSING):
        return there
    raise UsageError(
        f"The archive of {settings.server_name} cannot be read by backup_pitr_cipher_key: "
        f"{there.message}",
        "Take the key that setup.yml has put beside the inventory for that server: "
        "host_vars/HOST/pitr_key.yml, as git or a backup has it",
    )


def _require_major(settings: Settings, major: int) -> None:
    """:raises UsageError: another PostgreSQL stands where this one is to be."""
    if other := at_rest.other_major(settings.db_port, major):
        raise UsageError(
            f"PostgreSQL {other} is installed here at port {settings.db_port}, and the archive is "
            f"of PostgreSQL {major}: pieces of its log say nothing to another major",
            "Remove that cluster (pg_lsclusters, pg_dropcluster), or leave -e from=pitr out: a "
            "nightly dump goes into any newer major",
        )


def lines(found: Found) -> list[str]:
    """:func:`find` for a person."""
    older = f"; {found['older']} of clusters before it are passed over" if found["older"] else ""
    size = human_bytes(found["bytes"])
    where = found["archive"] or "the place that the container's own config names"
    told = f"The archive of PostgreSQL {found['major']} in {where}: {found['label']}"
    return [f"{told}, of {size}, ended at {found['ended']}{older}"]
