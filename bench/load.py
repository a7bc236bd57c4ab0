"""How fast a dump is loaded, beside psql: ``.venv/bin/python -m bench.load``, seconds to minutes.

Three dumps: rows by COPY, definitions alone, rows by INSERT. Both load into the same server, in
turns; CPU is that of the loading process, not of the server.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from demo.postgres_server import PostgresServer
from postgres_backup.postgresql.load import Load
from postgres_backup.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
HEADER = b"--\n-- PostgreSQL database dump\n--\n\nSET client_encoding = 'UTF8';\n"
TRAILER = b"--\n-- PostgreSQL database dump complete\n--\n\n"


def copied(scale: float) -> bytes:
    """About 400 MB of rows."""
    table = b"CREATE TABLE public.t (id integer, a text, b text, c timestamptz);\n"
    rows = b"".join(
        b"%d\t%064x\tthe row of number %d\t2026-01-27 00:00:00+00\n" % (n, n * 7919, n)
        for n in range(int(3_200_000 * scale))
    )
    return table + b"COPY public.t (id, a, b, c) FROM stdin;\n" + rows + b"\\.\n\n"


def defined(scale: float) -> bytes:
    """9,000 statements that make things."""
    return b"".join(
        b"--\n-- Name: t%d; Type: TABLE\n--\n\n"
        b"CREATE TABLE public.t%d (\n    id integer NOT NULL,\n    a text\n);\n\n\n"
        b"ALTER TABLE ONLY public.t%d ADD CONSTRAINT c%d PRIMARY KEY (id);\n\n\n"
        b"COMMENT ON TABLE public.t%d IS 'number %d';\n\n\n" % (n, n, n, n, n, n)
        for n in range(int(3_000 * scale))
    )


def inserted(scale: float) -> bytes:
    """200,000 rows, a statement each."""
    return b"CREATE TABLE public.t (id integer, a text, b text);\n" + b"".join(
        b"INSERT INTO public.t VALUES (%d, 'it''s number %d', '%064x');\n" % (n, n, n)
        for n in range(int(200_000 * scale))
    )


def by_psql(server: PostgresServer, file: Path) -> None:
    argv = [server.bin_dir / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null"]
    with file.open("rb") as dump:
        subprocess.run(argv, stdin=dump, env=server.environment("bench"), check=True)


def by_us(server: PostgresServer, file: Path) -> None:
    environment = os.environ | {
        "PYTHONPATH": str(ROOT / "module_utils"),
        "PORT": str(server.port),
        "LOADING_USER": server.superuser,
        "PGPASSWORD": server.password,
    }
    subprocess.run(
        [sys.executable, "-m", "bench.load", "--file", file], env=environment, check=True
    )


def load(file: Path) -> None:
    """In a process of its own, so that its CPU can be told."""
    settings = Settings(
        "x", ("bench",), os.environ["LOADING_USER"], "http://x", "xxx", "x", "x", "127.0.0.1",
        int(os.environ["PORT"]), os.environ["PGPASSWORD"],
    )  # fmt: skip
    with file.open("rb") as dump, Load(settings, "bench") as loading:
        while piece := dump.read(1 << 20):
            loading.feed(piece)
        loading.inspect()
        loading.finish()


def measured(what: Callable[[], None]) -> tuple[float, float]:
    """Seconds, and seconds of CPU of the child."""
    before, began = os.times(), time.monotonic()
    what()
    after = os.times()
    cpu = after.children_user + after.children_system
    return time.monotonic() - began, cpu - before.children_user - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.file:
        load(arguments.file)
        return
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT) as folder:
        server = PostgresServer(Path(folder) / "postgres", settings={"max_wal_size": "4GB"})
        server.start()
        try:
            for make in (copied, defined, inserted):
                file = Path(folder) / "dump.sql"
                file.write_bytes(HEADER + make(arguments.scale) + TRAILER)
                for _ in range(arguments.rounds):
                    for way in (by_psql, by_us):
                        server.execute("DROP DATABASE IF EXISTS bench")
                        server.execute("CREATE DATABASE bench TEMPLATE template0")
                        server.execute("CHECKPOINT")
                        seconds, cpu = measured(lambda way=way, file=file: way(server, file))
                        print(
                            f"{make.__name__}, {file.stat().st_size / 1e6:.0f} MB, {way.__name__}: "
                            f"{seconds:.1f} s, CPU {cpu:.1f} s",
                            flush=True,
                        )
        finally:
            server.remove()


if __name__ == "__main__":
    main()
