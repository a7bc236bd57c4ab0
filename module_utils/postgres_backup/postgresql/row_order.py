"""Rows that come out of a table in the order in which they went in.

A table that is new in its transaction takes its rows one behind the other. Into an older one,
PostgreSQL puts short rows where an earlier page has room left (RelationGetBufferForTuple in hio.c;
CopyFrom sets TABLE_INSERT_SKIP_FSM for new ones only), and then the same rows come out in another
order, with another hash. So many rows are preceded by emptying the empty table, which makes it new;
pg_restore does the same when it works in parallel, to spare the log where wal_level is minimal. Few
rows, which fit into one page, have no earlier page to go to: thousands of small tables are not
emptied.

Rows of a table that is new in its transaction are written frozen too: who reads them first (the
comparison, an index, a foreign key) need not look up who wrote them, and note that in every page
once more; nor has VACUUM to come over a restored table before it is of use to index-only scans.
"""

from __future__ import annotations

from .wire import Session

#: up to so many bytes rows are few: they are looked at once they are in
FEW_BYTES = 8192
#: what TRUNCATE would refuse or do beside its work is not asked for: a table to which others refer,
#: of which dumps have only those of extensions so early (postgis_topology, pgagent), one with
#: triggers of its own for it, one with rows that an extension has made
_OURS_ALONE = b"""
SELECT (SELECT c.relkind = 'r' AND pg_catalog.has_table_privilege(c.oid, 'TRUNCATE')
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint f
                WHERE f.confrelid = c.oid AND f.contype = 'f' AND f.conrelid <> c.oid)
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger t
                WHERE t.tgrelid = c.oid AND t.tgtype & 32 <> 0)
        FROM pg_catalog.pg_class c WHERE c.oid = $1::pg_catalog.regclass)
    AND (SELECT count(*) FROM (SELECT FROM ONLY %b LIMIT $2::pg_catalog.int8 + 1) there) = $2"""
#: what follows COPY ... FROM stdin into a table that was made new (COPY in PostgreSQL's
#: documentation). Others would see the rows before the commit; a side database has no others
FROZEN = b" WITH (FREEZE)"
_ONE_PAGE = b"""
SELECT pg_catalog.pg_relation_size($1::pg_catalog.regclass)
    <= pg_catalog.current_setting('block_size')::pg_catalog.int8"""


def made_new(session: Session, table: bytes, line: int, rows: int = 0) -> bool:
    """Make a table new in the transaction at hand, where it can be: then its rows keep their order.

    :param table: as the dump writes it.
    :param rows: that we have put into it so far, and that go with it.
    """
    session.send(_OURS_ALONE % table, line, [table, str(rows).encode()])
    if session.sync() != b"t":
        return False
    session.send(b"TRUNCATE TABLE ONLY " + table, line)
    return True


def in_one_page(session: Session, table: bytes, line: int) -> bool:
    """Whether all rows of a table are in one page, and so in their order."""
    session.send(_ONE_PAGE, line, [table])
    return session.sync() == b"t"
