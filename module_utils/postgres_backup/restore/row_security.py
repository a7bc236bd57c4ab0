"""Row-level security must hide no row from whoever brings tables back: a row that is not seen would
be taken for one that is missing.
"""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from ..errors import UsageError
from ..postgresql.connection import value, values
from .foreign_keys import ForeignKey
from .table import Table

_HIDING = """
SELECT oid::regclass::text FROM pg_class
WHERE oid = ANY(%s::oid[]) AND has_table_privilege(oid, 'SELECT') AND row_security_active(oid)
ORDER BY 1"""


def require_every_row(
    live: psycopg.Connection, tables: Sequence[Table], keys: Sequence[ForeignKey] = ()
) -> None:
    """See that it hides none in these tables, and in those that keys tie them to.

    :raises UsageError: it does.
    """
    oids = {table.live_oid for table in tables if table.live_oid is not None}
    oids |= {oid for key in keys for oid in (key.child, key.parent)}
    hiding = values(live, str, _HIDING, (sorted(oids),))
    if hiding:
        user = value(live, str, "SELECT quote_ident(current_user)")
        raise UsageError(
            f"Row-level security may hide rows of {', '.join(hiding)} from {user}",
            f"As a superuser: ALTER ROLE {user} BYPASSRLS; then type the same again; or name the "
            "owner of these tables in backup_db_user, if it is not forced on him. "
            "Nothing was changed",
        )
