"""What a manifest tells of things that come back not by everybody, not on every server, or not as
they were; and what becomes of each.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import psycopg
from psycopg import sql

from ..catalog.manifest import Manifest
from ..findings import Finding, finding
from ..job import Job
from ..postgresql import subscriptions
from ..postgresql.connection import connect_maintenance, values
from ..postgresql.extension_trials import Cause, cannot_be_made
from ..postgresql.facts import DatabaseFacts, ServerFacts
from ..postgresql.requirements import Requirement, may_not
from .objections import Objections
from .role_statements import Membership, Statement
from .roles import Preparation

#: views that a message names
_NAMED = 10


def roles_of(known: Manifest, wanted: DatabaseFacts) -> list[str]:
    """Every role that restoring it refers to, by name."""
    named = {*known.get("roles", []), wanted.owner}
    named |= {grant.role for grant in wanted.grants or ()}
    named |= {setting.role for setting in wanted.settings}
    return sorted(named - {""})


def object_by_rights(
    connection: psycopg.Connection,
    job: Job,
    known: Manifest,
    server: ServerFacts,
    objections: Objections,
) -> None:
    """Who is no superuser may not make everything again."""
    if server.superuser:
        return
    required = [
        Requirement(right["object"], right["takes"], right["role"])
        for right in known.get("rights", [])
    ]
    for why in may_not(connection, job.settings.db_user, required):
        objections.add("RESTORE_NEEDS_RIGHTS", why.message, why.hint)


_ACTED_AS = "SELECT rolname::text FROM pg_roles WHERE pg_has_role(oid, 'MEMBER')"


def object_by_new_roles(
    connection: psycopg.Connection,
    job: Job,
    known: Manifest,
    server: ServerFacts,
    made: Preparation,
    objections: Objections,
) -> None:
    """Roles that a restore makes can own nothing where it may not act as them: who makes a role is
    no member of it by that.
    """
    owners = {right["role"] for right in known.get("rights", []) if right["takes"] == "member"}
    new = owners & set(made.roles)
    if not new or server.superuser:
        return
    acted_as = set(values(connection, str, _ACTED_AS))
    if lacking := sorted(new - with_groups(acted_as, made.statements)):
        user = job.settings.db_user
        statements = [
            sql.SQL("CREATE ROLE {0}; GRANT {0} TO {1};").format(
                sql.Identifier(role), sql.Identifier(user)
            )
            for role in lacking[:_NAMED]
        ]
        objections.add(
            "RESTORE_NEEDS_RIGHTS",
            f"The database holds what belongs to {', '.join(lacking[:_NAMED])}, which the server "
            f"lacks, and {user} may make such a role but not act as it",
            f"As a superuser: {sql.SQL(' ').join(statements).as_string(connection)}",
        )


def with_groups(acted_as: Collection[str], statements: Sequence[Statement]) -> set[str]:
    """Whom somebody may act as, once the saved memberships are there."""
    found, memberships = set(acted_as), [s for s in statements if isinstance(s, Membership)]
    while new := {m.group for m in memberships if m.member in found} - found:
        found |= new
    return found


def object_by_extensions(job: Job, known: Manifest, in_place: bool, objections: Objections) -> None:
    """Extensions that the server lists, and that cannot be made all the same."""
    names = [extension["name"] for extension in known.get("extensions", [])]
    if set(names) <= {"plpgsql"}:
        return
    with connect_maintenance(job.settings, job.database) as connection:
        found = cannot_be_made(connection, names)
    for tried in found:
        if tried.cause is Cause.FILES:
            objections.add(
                "EXTENSION_ABSENT",
                f"The extension {tried.name} is not whole on the server: {tried.why}",
                "Install its package anew on the database server, then try again",
            )
        elif tried.cause is Cause.ENDED:
            objections.add(
                "EXTENSION_UNUSABLE",
                f"The extension {tried.name} cannot be made on the server: {tried.why}",
                "Set the server up for it (shared_preload_libraries?): see its documentation",
            )
        elif not in_place:
            objections.add(
                "EXTENSION_UNUSABLE",
                f"The extension {tried.name} cannot be made in a second database beside the live "
                f"one: {tried.why}",
                "Restore in place, in one transaction: backup_restore_in_place: true "
                "(postgres-backup restore --in-place)",
            )


def not_as_it_was(known: Manifest, database: str) -> list[Finding]:
    """Findings for what is restored in another state than it had."""
    findings = subscriptions.as_dumped(known.get("subscriptions", []), database)
    views = [
        f"{view['view']} ({', '.join(view['servers'])})" for view in known.get("remote_views", [])
    ]
    if views:
        more = f" and {len(views) - _NAMED} more" if len(views) > _NAMED else ""
        findings.append(
            finding(
                "VIEW_READS_REMOTE",
                "materialized views are filled again from foreign servers, as these are now; one "
                "whose server does not answer is left empty: "
                f"{', '.join(views[:_NAMED])}{more}",
                database=database,
            )
        )
    return findings
