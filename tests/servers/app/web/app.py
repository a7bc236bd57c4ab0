"""A small application that never rests: it writes over a pool all the time and notes when it could
not.

    GET /healthz     200 and {"ok": true, ...}, or 503 and the reason
    GET /            what it knows: rows, the newest one, its schema's version
    POST /visits     one more row, of somebody's own: {"note": "..."}

``/state/downtime.jsonl`` gets a line for each time in which no write succeeded though some were
tried, or in which it did not run: from and to (seconds since the epoch), seconds, the errors seen
meanwhile. Its schema has a version; a database of another version is not healthy for it, as with
any application whose backup is older than its code.
"""

import collections
import http.server
import json
import os
import signal
import threading
import time
from pathlib import Path

import psycopg2
import psycopg2.pool

WRITERS = 4
#: seconds between two writes of one writer
PAUSE = 0.05
#: what this code expects of the database
SCHEMA_VERSION = 2
STATE = Path(os.environ.get("STATE", "/state"))
SCHEMA = """
    CREATE TABLE IF NOT EXISTS schema_version (version int NOT NULL);
    INSERT INTO schema_version SELECT 2 WHERE NOT EXISTS (SELECT FROM schema_version);
    CREATE TABLE IF NOT EXISTS customers (id serial PRIMARY KEY, name text NOT NULL UNIQUE);
    INSERT INTO customers (name) SELECT 'customer ' || n FROM generate_series(1, 500) n
        ON CONFLICT DO NOTHING;
    CREATE TABLE IF NOT EXISTS visits (
        id bigserial PRIMARY KEY, customer int NOT NULL REFERENCES customers,
        at timestamptz NOT NULL DEFAULT clock_timestamp(), note text NOT NULL);
"""


class Diary:
    """When writes succeeded, and the times between in which none did."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.errors: collections.Counter = collections.Counter()
        self.last_file, self.new_file, self.gaps_file = (
            STATE / "last-write",
            STATE / "last-write.new",
            STATE / "downtime.jsonl",
        )
        self.last = float(self.last_file.read_text()) if self.last_file.exists() else 0.0
        self.restarted = self.last > 0

    def succeeded(self) -> None:
        with self.lock:
            now = time.time()
            if self.last and (self.errors or self.restarted):
                gap = {
                    "from": self.last,
                    "to": now,
                    "seconds": round(now - self.last, 3),
                    "restarted": self.restarted,
                    "errors": dict(self.errors),
                }
                with open(self.gaps_file, "a", encoding="utf-8") as file:
                    file.write(json.dumps(gap) + "\n")
                print(json.dumps({"downtime": gap}))
                self.errors.clear()
            self.last, self.restarted = now, False
            # whole or not at all: it may be ended at any moment
            self.new_file.write_text(repr(now))
            os.replace(self.new_file, self.last_file)

    def failed(self, error: Exception) -> None:
        first = next(iter(str(error).strip().splitlines()), "")
        with self.lock:
            self.errors[f"{type(error).__name__}: {first}"] += 1


class Database:
    """A pool of connections; a broken one is thrown away."""

    def __init__(self) -> None:
        self.pool: psycopg2.pool.ThreadedConnectionPool | None = None
        self.lock = threading.Lock()

    def _pool(self) -> psycopg2.pool.ThreadedConnectionPool:
        with self.lock:
            if self.pool is None:
                pool = psycopg2.pool.ThreadedConnectionPool(
                    1,
                    WRITERS + 8,
                    os.environ["DATABASE_URL"],
                    connect_timeout=2,
                    application_name="web",
                )
                connection = pool.getconn()
                with connection, connection.cursor() as cursor:
                    cursor.execute(SCHEMA)
                pool.putconn(connection)
                self.pool = pool
            return self.pool

    def ask(self, statement: str, *values: object) -> list[tuple]:
        pool = self._pool()
        connection = pool.getconn()
        good = False
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement, values)
                rows = cursor.fetchall() if cursor.description else []
            good = True
            return rows
        finally:
            pool.putconn(connection, close=not good)


database, diary = Database(), Diary()


def visit(note: str) -> None:
    database.ask("INSERT INTO visits (customer, note) VALUES (1 + floor(random() * 500), %s)", note)
    diary.succeeded()


def write_for_ever(number: int) -> None:
    while True:
        try:
            visit(f"writer {number}")
        except (psycopg2.Error, psycopg2.pool.PoolError) as error:
            diary.failed(error)
        time.sleep(PAUSE)


def facts() -> dict:
    [(version,)] = database.ask("SELECT version FROM schema_version")
    [(visits, newest, customers)] = database.ask(
        "SELECT count(*), max(at)::text, (SELECT count(*) FROM customers) FROM visits"
    )
    return {"version": version, "visits": visits, "newest": newest, "customers": customers}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        try:
            known = facts()
        except (psycopg2.Error, psycopg2.pool.PoolError, ValueError) as error:
            self._answer(503, {"ok": False, "reason": str(error).strip()})
            return
        known["ok"] = known["version"] == SCHEMA_VERSION
        if not known["ok"]:
            known["reason"] = (
                f"the database has schema version {known['version']},"
                f" this code needs {SCHEMA_VERSION}"
            )
        self._answer(200 if known["ok"] or self.path != "/healthz" else 503, known)

    def do_POST(self) -> None:
        note = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["note"]
        try:
            visit(note)
            self._answer(201, {"ok": True})
        except (psycopg2.Error, psycopg2.pool.PoolError) as error:
            self._answer(503, {"ok": False, "reason": str(error).strip()})

    def _answer(self, status: int, body: dict) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *words: object) -> None:
        """Only downtime goes to the log."""


if __name__ == "__main__":
    # process 1 of a container ignores what it does not handle, and Docker would wait ten seconds
    # before it kills it
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    for writer in range(WRITERS):
        threading.Thread(target=write_for_ever, args=(writer,), daemon=True).start()
    http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
