"""What belongs to which role in a database, and who has rights to what: counted and hashed by role,
so that a copy can be held against it.

Rights of owners to what is their own, grantors and large objects are left out: a dump writes the
first two another way where that means the same, and of the last there may be millions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import psycopg

from ..stream.any_order import AnyOrder
from .connection import rows
from .requirements import OWNED


@dataclasses.dataclass(frozen=True)
class Share:
    """What is one role's: how many, and a hash of which.

    :param objects: that it owns; ``rights``: that it has to objects of others.
    """

    objects: int
    objects_sha256: str
    rights: int
    rights_sha256: str


@dataclasses.dataclass(frozen=True)
class _Line:
    role: str
    thing: str


_NAMED = "concat_ws(' ', (i).type, (i).identity)"
_OBJECTS = (
    OWNED
    + f"""
SELECT r.rolname::text AS role, {_NAMED} AS thing
FROM owned JOIN pg_roles r ON r.oid = owned.owner,
     LATERAL (SELECT pg_identify_object(catalog, owned.oid, 0)) AS x(i)
WHERE catalog <> 'pg_largeobject'::regclass"""
)
# everybody may run a function, use a type or a language, where nothing else was said
_RIGHTS = (
    OWNED
    + f"""
, granted AS (
    SELECT catalog, owned.oid, 0 AS part, owner, coalesce(acl, CASE catalog
        WHEN 'pg_proc'::regclass THEN acldefault('f', owner)
        WHEN 'pg_type'::regclass THEN acldefault('T', owner)
        WHEN 'pg_language'::regclass THEN acldefault('l', owner) END) AS acl FROM owned
    UNION ALL
    SELECT catalog, owned.oid, c.attnum, owner, c.attacl
    FROM owned JOIN pg_attribute c ON c.attrelid = owned.oid
    WHERE catalog = 'pg_class'::regclass AND c.attacl IS NOT NULL AND NOT c.attisdropped)
SELECT coalesce(r.rolname::text, '') AS role,
       concat_ws(' ', {_NAMED}, a.privilege_type, a.is_grantable::text) AS thing
FROM granted, aclexplode(acl) a LEFT JOIN pg_roles r ON r.oid = a.grantee,
     LATERAL (SELECT pg_identify_object(catalog, granted.oid, part)) AS x(i)
WHERE a.grantee <> owner AND catalog <> 'pg_largeobject'::regclass"""
)


def shares(connection: psycopg.Connection) -> dict[str, Share]:
    """By role, of the connected database; the empty name stands for everybody."""
    objects, rights = _hashed(connection, _OBJECTS), _hashed(connection, _RIGHTS)
    return {
        role: Share(*objects.get(role, (0, "")), *rights.get(role, (0, "")))
        for role in sorted(objects.keys() | rights.keys())
    }


def _hashed(connection: psycopg.Connection, asked: str) -> Mapping[str, tuple[int, str]]:
    counts: dict[str, int] = {}
    hashes: dict[str, AnyOrder] = {}
    for line in rows(connection, _Line, asked):
        counts[line.role] = counts.get(line.role, 0) + 1
        text = line.thing.replace("\n", " ") + "\n"
        hashes.setdefault(line.role, AnyOrder()).update(text.encode(errors="surrogateescape"))
    return {role: (number, hashes[role].hexdigest()) for role, number in counts.items()}
