"""What the manifest of a backup that was just taken says."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from ..catalog.manifest import (
    GlobalsRecord,
    Manifest,
    MemberRecord,
    Privilege,
    ServerIdentity,
    ShareRecord,
    tables_of,
)
from ..clock import format_timestamp, utc_now
from ..job import Job
from ..machine import identity
from ..postgresql.belongings import Share
from ..postgresql.facts import DatabaseFacts, Extension, Grant, ServerFacts
from ..postgresql.requirements import Requirements
from ..s3.client import StoredObject
from ..s3.upload import Part
from ..settings import Settings
from ..stream.inspector import Report
from ..text import printable
from .path_needs import PathNeeds
from .place import Place


@dataclasses.dataclass(frozen=True)
class Taken:
    """What is known of a backup once its object is in the store.

    :param server: where it was taken, and ``pg_dump_version`` by what.
    :param database: as it was when the snapshot was taken, and so are its ``extensions``.
    :param sha256: of the object, hexadecimal.
    :param parts: that it was uploaded in.
    :param globals: of the roles that were saved beside it; None for a part of a database.
    """

    place: Place
    server: ServerFacts
    pg_dump_version: str
    database: DatabaseFacts
    extensions: Sequence[Extension]
    report: Report
    stored: StoredObject
    sha256: str
    parts: Sequence[Part]
    globals: GlobalsRecord | None
    requirements: Requirements
    #: by role, see ``postgresql/belongings``
    shares: Mapping[str, Share]
    #: all tables of the database, as pg_dump writes their names; None where nobody can tell
    names: Sequence[str] | None = None
    #: tables that may lack rows, see ``postgresql/rewritten``
    rewritten: Sequence[str] = ()
    path_needs: PathNeeds = dataclasses.field(default_factory=PathNeeds)
    members: Sequence[MemberRecord] = ()


def manifest_of(job: Job, taken: Taken, seconds: float) -> Manifest:
    """Everything that is known, so that a restore needs nothing else.

    :param seconds: that it took.
    """
    settings, database, name, report = job.settings, taken.database, taken.place.name, taken.report
    tables = tables_of(report)
    described: Manifest = {
        "name": taken.place.label,
        "database": job.database,
        "server": _server(settings, taken),
        "started_at": format_timestamp(name.taken_at),
        "ended_at": format_timestamp(utc_now()),
        "seconds": round(seconds, 1),
        "postgresql_version": taken.server.version,
        "pg_dump_version": taken.pg_dump_version,
        "encoding": database.encoding,
        "locale": {
            "provider": database.provider,
            "collate": database.collate,
            "ctype": database.ctype,
            "locale": database.locale,
            "icu_rules": database.icu_rules,
        },
        "owner": database.owner,
        "comment": database.comment,
        "connection_limit": database.connection_limit,
        "tablespace": database.tablespace,
        "extensions": [
            {"name": extension.name, "version": extension.version, "schema": extension.schema}
            for extension in taken.extensions
        ],
        "roles": sorted({*database.roles, taken.requirements.first_role} - {""}),
        "settings": [{"role": s.role, "setting": s.setting} for s in database.settings],
        "privileges": None if database.grants is None else _privileges(database.grants),
        "format": name.format,
        "compression": name.compression,
        "encryption": {"kind": "age", "recipients": list(settings.age_recipients)}
        if settings.age_recipients
        else None,
        "partial": taken.place.part,
        "bytes": taken.stored.bytes,
        "dump_bytes": report.bytes,
        "database_bytes": database.database_bytes,
        "sha256": taken.sha256,
        "dump_sha256": report.sha256,
        "schema_sha256": report.schema_sha256,
        "globals": taken.globals,
        "rows": sum(table["rows"] for table in tables.values()),
        "large_objects": report.large_objects,
        "rights": [
            # said to a person only: in SQL_ASCII a name may hold bytes that are no letters
            {"object": printable(right.object), "takes": right.takes, "role": right.role}
            for right in taken.requirements.rights
        ],
        "shares": _shares(taken.shares),
        "subscriptions": list(taken.requirements.subscriptions),
        "remote_views": [
            {"view": printable(view.view), "servers": list(view.servers)}
            for view in taken.requirements.remote_views
        ],
        "tables": tables,
        "parts": [{"bytes": part.bytes, "sha256": part.sha256} for part in taken.parts],
    }
    if taken.names is not None and not taken.place.part:
        described["rowless"] = sorted(set(taken.names) - tables.keys())
    if taken.members:
        described["members"] = list(taken.members)
    if taken.rewritten:
        described["rewritten"] = list(taken.rewritten)
    if taken.path_needs.needs:
        described["needs_search_path"] = list(taken.path_needs.needs)
    return described


def _server(settings: Settings, taken: Taken) -> ServerIdentity:
    mark = identity.mark_of(taken.server.system_identifier, taken.server.started)
    return {
        "name": settings.server_name,
        "host": settings.db_host,
        "port": settings.db_port,
        "container": settings.db_container,
        "system_identifier": taken.server.system_identifier,
        "started": taken.server.started,
        "machine": mark.machine,
        "machine_name": mark.host,
        "since": identity.since(settings, mark) or format_timestamp(taken.place.name.taken_at),
    }


def _privileges(grants: Sequence[Grant]) -> list[Privilege]:
    return [
        {
            "role": grant.role,
            "privilege": grant.privilege,
            "grantable": grant.grantable,
            "grantor": grant.grantor,
        }
        for grant in grants
    ]


def _shares(shares: Mapping[str, Share]) -> list[ShareRecord]:
    return [
        {
            "role": role,
            "objects": share.objects,
            "objects_sha256": share.objects_sha256,
            "rights": share.rights,
            "rights_sha256": share.rights_sha256,
        }
        for role, share in shares.items()
    ]
