"""How the tests of restores look at databases: asked of the server itself, through a session that
no setting disturbs.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import psycopg
from psycopg import sql

from demo import sample
from demo.postgres_server import PostgresServer

PLAIN = (
    "-c statement_timeout=0 -c default_transaction_read_only=off"
    " -c search_path=public -c bytea_output=hex"
)
_ATTRIBUTES = """
SELECT to_jsonb(d) - ARRAY['oid', 'datname', 'datfrozenxid', 'datminmxid', 'dattablespace',
                           'datdba', 'datacl', 'datcollversion'],
       pg_get_userbyid(datdba), shobj_description(oid, 'pg_database'),
       (SELECT spcname FROM pg_tablespace t WHERE t.oid = dattablespace)
FROM pg_database d WHERE datname = current_database()"""
_PRIVILEGES = """
SELECT pg_get_userbyid(a.grantee), pg_get_userbyid(a.grantor), a.privilege_type, a.is_grantable
FROM pg_database d, aclexplode(d.datacl) a WHERE datname = current_database()"""
_SETTINGS = """
SELECT CASE setrole WHEN 0 THEN '' ELSE pg_get_userbyid(setrole) END, unnest(setconfig)
FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
WHERE datname = current_database()"""


def as_superuser(config, server: PostgresServer):
    """The settings with a superuser's name and password."""
    return config.change(DB_USER=server.superuser, DB_PASSWORD=server.password)


def rows_of(server: PostgresServer, name: str) -> dict:
    """Every table's rows and contents."""
    return sample.fingerprint(server.dsn(name, options=PLAIN))


def state_of(server: PostgresServer, name: str) -> dict:
    """Everything about a database that a restore promises to bring back."""
    with psycopg.connect(server.dsn(name, options=PLAIN), autocommit=True) as connection:
        attributes, owner, comment, tablespace = connection.execute(_ATTRIBUTES).fetchone()
        return attributes | {
            "owner": owner,
            "comment": comment,
            "tablespace": tablespace,
            "privileges": sorted(connection.execute(_PRIVILEGES)),
            "settings": sorted(connection.execute(_SETTINGS)),
            "rows": sample.fingerprint(connection),
        }


def databases_of(server: PostgresServer) -> set[str]:
    return {name for (name,) in server.execute("SELECT datname FROM pg_database")}


def run_sql(server: PostgresServer, dbname: str, *statements: str, **names: str) -> None:
    """Statements as superuser; ``{name}`` stands for an identifier."""
    identifiers = {key: sql.Identifier(value) for key, value in names.items()}
    with psycopg.connect(server.dsn(dbname, options=PLAIN), autocommit=True) as connection:
        for statement in statements:
            connection.execute(sql.SQL(statement).format(**identifiers))


class Client(threading.Thread):
    """An application: writes and reads all the time, and connects anew when it is cut off."""

    def __init__(self, dsn: str) -> None:
        super().__init__(daemon=True)
        self._dsn, self._ended = dsn, threading.Event()
        self.written, self.cut, self.longest_gap, self._last = 0, 0, 0.0, 0.0

    def run(self) -> None:
        while not self._ended.is_set():
            try:
                with psycopg.connect(self._dsn, autocommit=True, connect_timeout=10) as connection:
                    while not self._ended.is_set():
                        connection.execute("INSERT INTO public.pulse (at) VALUES (now())")
                        self._beat()
                        time.sleep(0.005)
            except psycopg.Error:
                self.cut += 1
                time.sleep(0.01)

    def _beat(self) -> None:
        now = time.monotonic()
        if self._last:
            self.longest_gap = max(self.longest_gap, now - self._last)
        self._last, self.written = now, self.written + 1

    def stop(self) -> None:
        self._ended.set()
        self.join(30)
        assert not self.is_alive()


@contextlib.contextmanager
def clients(dsn: str, count: int) -> Iterator[list[Client]]:
    """So many applications at work in a database that has a table ``pulse``."""
    working = [Client(dsn) for _ in range(count)]
    for client in working:
        client.start()
    try:
        yield working
    finally:
        for client in working:
            client.stop()
