"""A database emptied, so that a dump can be loaded into it: what is dropped, and what of it is not
ours to drop.
"""

from __future__ import annotations

import dataclasses

import psycopg

from ..postgresql.connection import rows
from .objections import Objections

# What a plain dump creates and therefore must not be there. IF EXISTS: what is dropped takes others
# with it. The schema public comes back as initdb leaves it (template1 since 15: owned by
# pg_database_owner), since a dump takes that for given; who may not drop it (before 15 it was a
# superuser's) empties it. Casts and transforms go while their types are there to be named. Default
# privileges would add grants to what is created; those of others do not, and are theirs. plpgsql,
# which may be dropped, is what this is written in.
EMPTY = b"""
SET lock_timeout = '60s';
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS plpgsql;
DO $empty$
DECLARE
  r record;
  public_is_ours boolean;
BEGIN
  FOR r IN
    SELECT format('DROP EVENT TRIGGER IF EXISTS %I CASCADE', evtname) AS c FROM pg_event_trigger
    UNION ALL
    SELECT format('DROP PUBLICATION IF EXISTS %I CASCADE', pubname) FROM pg_publication
    UNION ALL
    SELECT format('DROP EXTENSION IF EXISTS %I CASCADE', extname) FROM pg_extension
      WHERE extname <> 'plpgsql'
  LOOP EXECUTE r.c; END LOOP;
  FOR r IN
    SELECT format(
        'DROP TRANSFORM IF EXISTS FOR %s LANGUAGE %I CASCADE', trftype::regtype, lanname) AS c
      FROM pg_transform t JOIN pg_language l ON l.oid = t.trflang WHERE t.oid >= 16384
    UNION ALL
    SELECT format(
        'DROP CAST IF EXISTS (%s AS %s) CASCADE', castsource::regtype, casttarget::regtype)
      FROM pg_cast c WHERE oid >= 16384 AND NOT EXISTS (
        SELECT FROM pg_depend d WHERE d.classid = 'pg_cast'::regclass AND d.objid = c.oid
          AND d.deptype IN ('i', 'e'))
  LOOP EXECUTE r.c; END LOOP;
  FOR r IN SELECT subname AS name FROM pg_subscription
    WHERE pg_has_role(subowner, 'USAGE')
      AND subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
  LOOP
    EXECUTE format('ALTER SUBSCRIPTION %I DISABLE', r.name);
    EXECUTE format('ALTER SUBSCRIPTION %I SET (slot_name = NONE)', r.name);
    EXECUTE format('DROP SUBSCRIPTION %I', r.name);
  END LOOP;
  public_is_ours := coalesce((
    SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = 'public'), true);
  FOR r IN
    SELECT format('DROP SCHEMA IF EXISTS %I CASCADE', nspname) AS c FROM pg_namespace
      WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
        AND (nspname <> 'public' OR public_is_ours)
    UNION ALL
    SELECT format('DROP FOREIGN DATA WRAPPER IF EXISTS %I CASCADE', fdwname)
      FROM pg_foreign_data_wrapper
    UNION ALL
    SELECT format('DROP LANGUAGE IF EXISTS %I CASCADE', lanname) FROM pg_language
      WHERE oid >= 16384 AND lanname <> 'plpgsql'
    UNION ALL
    SELECT format('DROP ACCESS METHOD IF EXISTS %I CASCADE', amname) FROM pg_am
      WHERE oid >= 16384
  LOOP EXECUTE r.c; END LOOP;
  PERFORM lo_unlink(oid) FROM pg_largeobject_metadata;
  FOR r IN
    SELECT d.defaclrole::regrole AS role, k.word, a.grantee, a.privilege_type AS privilege, a.given
    FROM pg_default_acl d
    JOIN (VALUES ('r', 'r', 'TABLES'), ('S', 's', 'SEQUENCES'), ('f', 'f', 'FUNCTIONS'),
        ('T', 'T', 'TYPES'), ('n', 'n', 'SCHEMAS'), ('L', 'L', 'LARGE OBJECTS'))
      AS k(kind, built_in, word) ON k.kind = d.defaclobjtype::text,
    LATERAL (
      SELECT grantee, privilege_type, false AS given FROM aclexplode(d.defaclacl)
      UNION ALL
      SELECT grantee, privilege_type, true
        FROM aclexplode(acldefault(k.built_in::"char", d.defaclrole))) AS a
    WHERE d.defaclnamespace = 0 AND pg_has_role(d.defaclrole, 'USAGE') ORDER BY a.given
  LOOP
    EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %s %s %s ON %s %s %s',
      r.role, CASE WHEN r.given THEN 'GRANT' ELSE 'REVOKE' END, r.privilege, r.word,
      CASE WHEN r.given THEN 'TO' ELSE 'FROM' END,
      CASE r.grantee WHEN 0 THEN 'PUBLIC' ELSE r.grantee::regrole::text END);
  END LOOP;
  IF NOT public_is_ours THEN
    LOOP
      SELECT format('DROP %s IF EXISTS %s CASCADE', o.type, o.identity) AS c INTO r
        FROM pg_depend d, pg_identify_object(d.classid, d.objid, 0) AS o
        WHERE d.refclassid = 'pg_namespace'::regclass
          AND d.refobjid = 'public'::regnamespace AND d.deptype = 'n'
          AND o.type NOT IN ('default acl', 'publication namespace') LIMIT 1;
      EXIT WHEN NOT FOUND;
      EXECUTE r.c;
    END LOOP;
    RETURN;
  END IF;
  CREATE SCHEMA public;
  COMMENT ON SCHEMA public IS 'standard public schema';
  IF current_setting('server_version_num')::int >= 150000 THEN
    GRANT USAGE ON SCHEMA public TO PUBLIC;
    ALTER SCHEMA public OWNER TO pg_database_owner;
  ELSE
    GRANT ALL ON SCHEMA public TO PUBLIC;
  END IF;
END $empty$;
SET lock_timeout = 0;
RESET client_min_messages;
"""


@dataclasses.dataclass(frozen=True)
class _Others:
    what: str
    owner: str


# What EMPTY drops by itself. Members of extensions go with these, everything in a schema of ours
# with that, whoever owns it.
_OTHERS = """
SELECT what, pg_get_userbyid(owner) AS owner FROM (
    SELECT 'event trigger ' || evtname AS what, evtowner AS owner,
           'pg_event_trigger'::regclass AS catalog, oid
    FROM pg_event_trigger
    UNION ALL
    SELECT 'publication ' || pubname, pubowner, 'pg_publication'::regclass, oid FROM pg_publication
    UNION ALL
    SELECT 'extension ' || extname, extowner, 'pg_extension'::regclass, oid FROM pg_extension
    WHERE extname <> 'plpgsql'
    UNION ALL
    SELECT 'schema ' || nspname, nspowner, 'pg_namespace'::regclass, oid FROM pg_namespace
    WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'public')
    UNION ALL
    SELECT 'foreign data wrapper ' || fdwname, fdwowner, 'pg_foreign_data_wrapper'::regclass, oid
    FROM pg_foreign_data_wrapper
    UNION ALL
    SELECT 'language ' || lanname, lanowner, 'pg_language'::regclass, oid FROM pg_language
    WHERE oid >= 16384 AND lanname <> 'plpgsql'
    UNION ALL
    SELECT 'access method ' || amname, 10, 'pg_am'::regclass, oid FROM pg_am WHERE oid >= 16384
    UNION ALL
    SELECT 'large object ' || oid, lomowner, 'pg_largeobject_metadata'::regclass, oid
    FROM pg_largeobject_metadata
    UNION ALL
    SELECT c.oid::regclass::text, c.relowner, 'pg_class'::regclass, c.oid
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
      AND NOT pg_has_role(n.nspowner, 'USAGE')
) AS dropped
WHERE NOT pg_has_role(owner, 'USAGE') AND NOT EXISTS (
    SELECT FROM pg_depend d
    WHERE d.classid = dropped.catalog AND d.objid = dropped.oid AND d.deptype = 'e')
ORDER BY 1"""
#: objects that a message names
_NAMED = 10


def object_by_owners(live: psycopg.Connection, user: str, objections: Objections) -> None:
    """What stands in the way of emptying the connected database: things of other roles."""
    others = rows(live, _Others, _OTHERS)
    if not others:
        return
    some = ", ".join(f"{one.what} (of {one.owner})" for one in others[:_NAMED])
    more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
    objections.add(
        "RESTORE_NEEDS_RIGHTS",
        f"In place, all that is in the database is dropped first, and {user} may not drop "
        f"{some}{more}",
        "Restore beside the live database (without --in-place), or as a superuser (backup_db_user)",
    )
