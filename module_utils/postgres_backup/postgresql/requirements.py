"""What bringing a database back takes beside its dump: roles that the server does not count among
those that it refers to, and rights that go beyond its owner's.

``pg_shdepend`` leaves out what belongs to the role that ``initdb`` made, whose number is always 10:
it cannot be dropped. On another server it may have another name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import psycopg
from psycopg import sql

from .connection import rows, values

SUPERUSER, MEMBER, GRANTOR = "superuser", "member", "grantor"


@dataclasses.dataclass(frozen=True)
class Requirement:
    """Something in a database that not everybody may make again.

    :param object: as PostgreSQL describes it: ``event trigger quiet``.
    :param takes: :data:`SUPERUSER`; :data:`MEMBER`: a superuser, or a member of the role that it
        belongs to; :data:`GRANTOR`: a superuser, or the role itself, which gave rights to it.
    :param role: that role; empty where there is none.
    """

    object: str
    takes: str
    role: str = ""


@dataclasses.dataclass(frozen=True)
class RemoteView:
    """A materialized view that reads foreign tables, directly or through other views."""

    view: str
    servers: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Requirements:
    """What bringing a database back takes.

    :param first_role: the role that ``initdb`` made, where the database refers to it; else empty.
    :param rights: of those that belong to a role, or were granted by one, an example each.
    :param subscriptions: as a dump has them; only a superuser's has.
    """

    first_role: str = ""
    rights: tuple[Requirement, ...] = ()
    subscriptions: tuple[str, ...] = ()
    remote_views: tuple[RemoteView, ...] = ()


# What a dump holds and somebody owns. Not what comes with extensions, is PostgreSQL's own, or goes
# with another (a table's row type, a type's array). The schema public is in a dump where it is not
# whose it is by default.
OWNED = """
WITH owned AS MATERIALIZED (
    SELECT o.* FROM (
        SELECT 'pg_class'::regclass AS catalog, oid, relowner AS owner, relacl AS acl,
               relnamespace AS namespace
        FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND relpersistence <> 't'
        UNION ALL
        SELECT 'pg_proc'::regclass, oid, proowner, proacl, pronamespace FROM pg_proc
        UNION ALL
        SELECT 'pg_type'::regclass, t.oid, typowner, typacl, typnamespace FROM pg_type t
        WHERE typtype <> 'm' AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)
          AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = typrelid AND c.relkind <> 'c')
        UNION ALL
        SELECT 'pg_namespace'::regclass, oid, nspowner, nspacl, oid FROM pg_namespace
        UNION ALL
        SELECT 'pg_operator'::regclass, oid, oprowner, NULL, oprnamespace FROM pg_operator
        UNION ALL
        SELECT 'pg_opclass'::regclass, oid, opcowner, NULL, opcnamespace FROM pg_opclass
        UNION ALL
        SELECT 'pg_opfamily'::regclass, oid, opfowner, NULL, opfnamespace FROM pg_opfamily
        UNION ALL
        SELECT 'pg_collation'::regclass, oid, collowner, NULL, collnamespace FROM pg_collation
        UNION ALL
        SELECT 'pg_conversion'::regclass, oid, conowner, NULL, connamespace FROM pg_conversion
        UNION ALL
        SELECT 'pg_ts_dict'::regclass, oid, dictowner, NULL, dictnamespace FROM pg_ts_dict
        UNION ALL
        SELECT 'pg_ts_config'::regclass, oid, cfgowner, NULL, cfgnamespace FROM pg_ts_config
        UNION ALL
        SELECT 'pg_statistic_ext'::regclass, oid, stxowner, NULL, stxnamespace
        FROM pg_statistic_ext
        UNION ALL
        SELECT 'pg_foreign_data_wrapper'::regclass, oid, fdwowner, fdwacl, 0
        FROM pg_foreign_data_wrapper
        UNION ALL
        SELECT 'pg_foreign_server'::regclass, oid, srvowner, srvacl, 0 FROM pg_foreign_server
        UNION ALL
        SELECT 'pg_language'::regclass, oid, lanowner, lanacl, 0 FROM pg_language
        UNION ALL
        SELECT 'pg_event_trigger'::regclass, oid, evtowner, NULL, 0 FROM pg_event_trigger
        UNION ALL
        SELECT 'pg_publication'::regclass, oid, pubowner, NULL, 0 FROM pg_publication
        UNION ALL
        SELECT 'pg_default_acl'::regclass, oid, defaclrole, defaclacl, 0 FROM pg_default_acl
        UNION ALL
        SELECT 'pg_largeobject'::regclass, oid, lomowner, lomacl, 0
        FROM pg_largeobject_metadata
    ) AS o
    LEFT JOIN pg_namespace n ON n.oid = o.namespace
    LEFT JOIN pg_roles r ON r.oid = o.owner
    WHERE (n.oid IS NULL OR n.nspname !~ '^pg_' AND n.nspname <> 'information_schema')
      AND (o.oid >= 16384 OR o.catalog = 'pg_largeobject'::regclass
           OR n.oid = o.oid AND n.nspname = 'public' AND r.rolname <> 'pg_database_owner'
              AND (o.owner <> 10 OR current_setting('server_version_num')::int >= 150000))
      AND NOT EXISTS (
          SELECT FROM pg_depend d
          WHERE d.classid = o.catalog AND d.objid = o.oid AND d.deptype IN ('e', 'i')))
"""

_FIRST_ROLE = (
    OWNED
    + """
SELECT rolname::text FROM pg_roles WHERE oid = 10 AND (
    EXISTS (SELECT FROM owned WHERE owner = 10)
    OR EXISTS (SELECT FROM owned, aclexplode(acl) a WHERE 10 IN (a.grantee, a.grantor))
    OR EXISTS (
        SELECT FROM owned JOIN pg_attribute c ON c.attrelid = owned.oid, aclexplode(c.attacl) a
        WHERE owned.catalog = 'pg_class'::regclass AND 10 IN (a.grantee, a.grantor))
    OR EXISTS (SELECT FROM pg_policy WHERE 10::oid = ANY (polroles))
    OR EXISTS (SELECT FROM pg_user_mappings WHERE umuser = 10)
    OR EXISTS (
        SELECT FROM pg_database d, aclexplode(d.datacl) a
        WHERE d.datname = current_database() AND a.grantee = 10))"""
)

_BELONGING = (
    OWNED
    + """
, granted AS (
    SELECT catalog, owned.oid, owner, a.grantor FROM owned, aclexplode(acl) a
    UNION ALL
    SELECT catalog, owned.oid, owner, a.grantor
    FROM owned JOIN pg_attribute c ON c.attrelid = owned.oid, aclexplode(c.attacl) a
    WHERE catalog = 'pg_class'::regclass)
SELECT coalesce(pg_describe_object(catalog, one.oid, 0), '') AS object, takes,
       r.rolname::text AS role
FROM (
    SELECT DISTINCT ON (owner) owner AS role, 'member' AS takes, catalog, oid
    FROM owned ORDER BY owner, catalog = 'pg_default_acl'::regclass, catalog::oid, oid) AS one
JOIN pg_roles r ON r.oid = one.role
WHERE r.rolname !~ '^pg_'
UNION ALL
SELECT coalesce(pg_describe_object(catalog, one.oid, 0), ''), takes, r.rolname::text
FROM (
    SELECT DISTINCT ON (grantor) grantor AS role, 'grantor' AS takes, catalog, oid
    FROM granted WHERE grantor <> owner ORDER BY grantor, catalog::oid, oid) AS one
JOIN pg_roles r ON r.oid = one.role
ORDER BY 2 DESC, 3"""
)

# The rules are those of PostgreSQL's own CREATE commands; what may be made by the owner of a
# database is not here. Managed servers let others have event triggers and publications of all
# tables, which PostgreSQL itself does not.
_RESTRICTED = """
SELECT coalesce(pg_describe_object(catalog, r.oid, 0), '') AS object, 'superuser' AS takes,
       '' AS role
FROM (
    SELECT 'pg_event_trigger'::regclass AS catalog, oid FROM pg_event_trigger
    WHERE evtowner IN (SELECT oid FROM pg_roles WHERE rolsuper)
    UNION ALL
    SELECT 'pg_publication'::regclass, oid FROM pg_publication
    WHERE (puballtables OR oid = ANY (%(of_schemas)s))
      AND pubowner IN (SELECT oid FROM pg_roles WHERE rolsuper)
    UNION ALL
    SELECT 'pg_foreign_data_wrapper'::regclass, oid FROM pg_foreign_data_wrapper
    WHERE fdwowner IN (SELECT oid FROM pg_roles WHERE rolsuper)
    UNION ALL
    SELECT 'pg_am'::regclass, oid FROM pg_am
    UNION ALL
    SELECT 'pg_language'::regclass, oid FROM pg_language
    UNION ALL
    SELECT 'pg_proc'::regclass, p.oid FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
    WHERE NOT l.lanpltrusted OR p.proleakproof
    UNION ALL
    SELECT 'pg_type'::regclass, t.oid FROM pg_type t
    WHERE (typtype = 'b' OR NOT typisdefined)
      AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)
    UNION ALL
    SELECT 'pg_opclass'::regclass, oid FROM pg_opclass
    UNION ALL
    SELECT 'pg_opfamily'::regclass, oid FROM pg_opfamily
    UNION ALL
    SELECT 'pg_ts_parser'::regclass, oid FROM pg_ts_parser
    UNION ALL
    SELECT 'pg_ts_template'::regclass, oid FROM pg_ts_template
    UNION ALL
    SELECT 'pg_cast'::regclass, oid FROM pg_cast WHERE castmethod = 'b'
    UNION ALL
    SELECT 'pg_transform'::regclass, oid FROM pg_transform WHERE trftype < 16384
) AS r
WHERE r.oid >= 16384 AND NOT EXISTS (
    SELECT FROM pg_depend d
    WHERE d.classid = r.catalog AND d.objid = r.oid AND d.deptype IN ('e', 'i'))
ORDER BY r.catalog::oid, r.oid LIMIT 100"""

_OF_SCHEMAS = "SELECT pnpubid::bigint FROM pg_publication_namespace"

_SUBSCRIPTIONS = """
SELECT s.subname::text FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
WHERE d.datname = current_database()
  AND (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) ORDER BY 1"""

_REMOTE_VIEWS = """
WITH RECURSIVE reads AS (
    SELECT DISTINCT r.ev_class AS view, d.refobjid AS relation
    FROM pg_rewrite r JOIN pg_depend d
      ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
     AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class
    WHERE r.ev_type = '1'
), through AS (
    SELECT c.oid AS view, reads.relation
    FROM pg_class c JOIN reads ON reads.view = c.oid WHERE c.relkind = 'm' AND c.relispopulated
    UNION
    SELECT through.view, reads.relation FROM through JOIN reads ON reads.view = through.relation
)
SELECT format('%%I.%%I', n.nspname, c.relname) AS view,
       array_agg(DISTINCT s.srvname::text ORDER BY s.srvname::text) AS servers
FROM through JOIN pg_foreign_table f ON f.ftrelid = through.relation
JOIN pg_foreign_server s ON s.oid = f.ftserver
JOIN pg_class c ON c.oid = through.view JOIN pg_namespace n ON n.oid = c.relnamespace
GROUP BY 1 ORDER BY 1 LIMIT 100"""


@dataclasses.dataclass(frozen=True)
class _RemoteRow:
    view: str
    servers: list[str]


def requirements(connection: psycopg.Connection) -> Requirements:
    """What bringing the connected database back takes."""
    of_schemas: list[int] = []
    if connection.info.server_version >= 150000:
        of_schemas = values(connection, int, _OF_SCHEMAS)
    return Requirements(
        "".join(values(connection, str, _FIRST_ROLE)),
        (
            *rows(connection, Requirement, _RESTRICTED, {"of_schemas": of_schemas}),
            *rows(connection, Requirement, _BELONGING),
        ),
        tuple(values(connection, str, _SUBSCRIPTIONS)),
        tuple(
            RemoteView(row.view, tuple(row.servers))
            for row in rows(connection, _RemoteRow, _REMOTE_VIEWS, ())
        ),
    )


@dataclasses.dataclass(frozen=True)
class MayNot:
    """Why somebody may not do all that is required, and what helps."""

    message: str
    hint: str


#: who may act as a role, which making something its property takes
_ACTABLE = """
SELECT rolname::text FROM pg_roles
WHERE rolname = ANY(%s) AND NOT pg_has_role(oid, %s)"""
_SUPERUSERS = """
SELECT rolname::text FROM pg_roles WHERE rolname = ANY(%s) AND rolsuper ORDER BY 1"""
#: things that a message names
_NAMED = 10


def may_not(
    connection: psycopg.Connection, user: str, required: Sequence[Requirement]
) -> list[MayNot]:
    """What keeps the connected user, who is no superuser, from making all of it again. Roles that
    the server does not have are not its concern.

    :param connection: to the server; no database in particular.
    """
    belonging = {one.role: one.object for one in required if one.takes == MEMBER}
    right = "SET" if connection.info.server_version >= 160000 else "MEMBER"
    others = sorted(values(connection, str, _ACTABLE, (list(belonging), right)))
    superusers = values(connection, str, _SUPERUSERS, (others,))
    restricted = [one.object for one in required if one.takes == SUPERUSER]
    restricted += [
        f"rights to {one.object} that {one.role} granted"
        for one in required
        if one.takes == GRANTOR and one.role != user
    ]
    restricted += [f"what belongs to {role} ({belonging[role]})" for role in superusers]
    found = []
    if restricted:
        found.append(
            MayNot(
                f"Only a superuser may make again what the database holds: {_some(restricted)}; "
                f"and {user} is none",
                "Restore as a superuser: name one in backup_db_user and backup_db_password "
                "(in the config: DB_USER, DB_PASSWORD)",
            )
        )
    if others := [role for role in others if role not in superusers]:
        granted = [
            sql.SQL("GRANT {} TO {};").format(sql.Identifier(role), sql.Identifier(user))
            for role in others
        ]
        things = _some([f"{role} ({belonging[role]})" for role in others])
        found.append(
            MayNot(
                f"The database holds what belongs to {things}, and {user} may not act as "
                + ("these roles" if len(others) > 1 else "that role"),
                f"As a superuser: {sql.SQL(' ').join(granted).as_string(connection)}",
            )
        )
    return found


def _some(things: list[str]) -> str:
    more = f" and {len(things) - _NAMED} more" if len(things) > _NAMED else ""
    return ", ".join(things[:_NAMED]) + more
