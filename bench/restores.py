"""A restore with proof beside the script's without, of six databases: part of ``make bench``.

``PYTHONPATH=module_utils .venv/bin/python -m bench.restores``, five rounds of each; ``--short`` is
two of each at a tenth of the size. Both take the same object out of the same store, in turns. The
script's is ``aws s3 cp - | gunzip | psql``, while which the application waits; ours loads beside
the live database, compares every row and swaps. CPU is that of all who take part: program, its
children, PostgreSQL and the store.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from psycopg import sql

from demo import sample
from demo.postgres_server import PostgresServer
from demo.s3_server import SeaweedFS

ROOT = Path(__file__).resolve().parent.parent
DATABASE, BUCKET, KEY = "bench", "bench-backups", "bench-key"
STORES = ("rclone", "seaweedfs")
_SHORT = 0.1
_TEXT = "(SELECT string_agg(md5((n * 31 + k)::text), ' ') FROM generate_series(1, {words}) k)"
#: name -> statements, where {n} is how many rows there are at scale 1; none: the sample
DATABASES: Mapping[str, tuple[str, ...]] = {
    "today": (),
    "text": (
        *(
            f"""CREATE TABLE letters_{number} AS SELECT n AS id, md5(n::text) AS title,
                {_TEXT.format(words=24)} AS body FROM generate_series(1, {{n}} / 5) n"""
            for number in range(3)
        ),
        *(f"ALTER TABLE letters_{number} ADD PRIMARY KEY (id)" for number in range(3)),
        *(f"CREATE INDEX ON letters_{number} (title)" for number in range(3)),
        *(f"CREATE INDEX ON letters_{number} (lower(title))" for number in range(3)),
    ),
    "numbers": (
        *(
            f"""CREATE TABLE readings_{number} AS SELECT n AS id,
                (n::int8 * 7919 % 10007)::int AS sensor,
                timestamptz '2026-01-01' + n * interval '1 second' AS at, sqrt(n) AS value,
                (n::int8 * 31 % 977)::numeric(9, 2) AS price FROM generate_series(1, {{n}}) n"""
            for number in range(4)
        ),
        *(f"ALTER TABLE readings_{number} ADD PRIMARY KEY (id)" for number in range(4)),
        *(f"CREATE INDEX ON readings_{number} (sensor, at)" for number in range(4)),
        *(f"CREATE INDEX ON readings_{number} (value)" for number in range(4)),
    ),
    "json": (
        *(
            f"""CREATE TABLE events_{number} AS SELECT n AS id, jsonb_object_agg(
                'key ' || k, md5((n * k % 5003)::text)) AS body
                FROM generate_series(1, {{n}} / 15) n, generate_series(1, 30) k GROUP BY n"""
            for number in range(2)
        ),
        *(f"ALTER TABLE events_{number} ADD PRIMARY KEY (id)" for number in range(2)),
        *(f"CREATE INDEX ON events_{number} USING gin (body jsonb_path_ops)" for number in (0, 1)),
    ),
    "many": (
        """DO $$BEGIN FOR t IN 1..{tables} LOOP
           EXECUTE format('CREATE TABLE small_%s AS SELECT n AS id, md5(n::text) AS name
               FROM generate_series(1, 20) n', t);
           EXECUTE format('ALTER TABLE small_%s ADD PRIMARY KEY (id)', t);
           EXECUTE format('CREATE INDEX ON small_%s (name)', t);
           IF t % 500 = 0 THEN COMMIT; END IF;
           END LOOP; END$$""",
    ),
    "one": (
        f"""CREATE TABLE large AS SELECT n AS id, (n::int8 * 7919 % 10007)::int AS kind,
            md5(n::text) AS name, {_TEXT.format(words=6)} AS body
            FROM generate_series(1, {{n}} * 2) n""",
        "ALTER TABLE large ADD PRIMARY KEY (id)",
        "CREATE INDEX ON large (kind)",
        "CREATE INDEX ON large (name)",
        """CREATE TABLE small AS SELECT n AS id, md5(n::text) AS name
           FROM generate_series(1, {n} / 2) n""",
        "ALTER TABLE small ADD PRIMARY KEY (id)",
    ),
}
#: rows for which {n} stands at scale 1, and small tables
ROWS, TABLES = 900_000, 5000


class Run(NamedTuple):
    """One restore: seconds, CPU seconds of all, peak memory of the process (MiB), for how long the
    database was out of reach (seconds).
    """

    seconds: float
    cpu: float
    peak: float
    downtime: float


@contextlib.contextmanager
def light_store(folder: Path, secret: str) -> Iterator[tuple[str, int]]:
    """rclone's S3 server over a folder: where it listens, and its process."""
    (folder / "data" / BUCKET).mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    rclone = Path(sys.executable).parent / "rclone"
    argv = [rclone if rclone.exists() else "rclone", "serve", "s3", "--addr", f"127.0.0.1:{port}"]
    # the key of a store that only this run can reach
    argv += ["--config", folder / "rclone.conf", "--auth-key", f"{KEY},{secret}", folder / "data"]
    with (folder / "rclone.log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 30
        while socket.socket().connect_ex(("127.0.0.1", port)):
            if process.poll() is not None or time.monotonic() > until:
                sys.exit((folder / "rclone.log").read_text())
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def heavy_store(folder: Path, secret: str) -> Iterator[tuple[str, int]]:
    """SeaweedFS, which takes about half of the processor that a download has."""
    store = SeaweedFS(folder, KEY, secret)
    store.start()
    try:
        yield store.endpoint_url, store.pid or 0
    finally:
        store.stop()


def ticks(process: int, children: bool = False) -> float:
    """CPU seconds of a process; with those of children that have ended."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    used = sum(int(field) for field in fields[11 : 15 if children else 13])
    return used / os.sysconf("SC_CLK_TCK")


class Bench:
    """One database in one store; a restore of each kind."""

    def __init__(self, folder: Path, server: PostgresServer, store: tuple[str, int], secret: str):
        self.server, (self.url, self.store) = server, store
        self.folder, self.secret = folder, secret
        self._aws = f"aws --endpoint-url {self.url} s3"
        self._plain = server.environment(DATABASE) | {
            "PATH": f"{server.bin_dir}:{os.environ['PATH']}",
            "HOME": str(folder),
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        }
        self._own = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ["PYTHONPATH"]}
        self._ours: list[str] = []

    def _config(self, name: str) -> Path:
        values = {
            "SERVER_NAME": "bench",
            "DB_HOST": self.server.host,
            "DB_PORT": self.server.port,
            "DB_NAME": DATABASE,
            "DB_USER": self.server.superuser,
            "DB_PASSWORD": self.server.password,
            "PG_BIN_DIR": self.server.bin_dir,
            "S3_ENDPOINT_URL": self.url,
            "S3_BUCKET_NAME": BUCKET,
            "S3_PREFIX": name,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "STATE_DIR": self.folder / f"state-{name}",
        }
        path = self.folder / "backup-config.env"
        path.touch(mode=0o600)
        path.write_text("".join(f"{name}='{value}'\n" for name, value in values.items()))
        return path

    def fill(self, name: str, scale: float) -> int:
        """Make the database and back it up; bytes of its dump."""
        config = str(self._config(name))
        self._ours = [sys.executable, "-m", "postgres_backup", "--config", config]
        self.clear(DATABASE)
        self.server.execute(f"CREATE DATABASE {DATABASE}")
        if name == "today":
            sample.load(self.server.dsn(DATABASE), scale=max(scale * 16, 0.5))
        for statement in DATABASES[name]:
            text = statement.replace("{n}", str(int(ROWS * scale)))
            text = text.replace("{tables}", str(int(TABLES * scale)))
            self.server.execute(text, DATABASE)
        self.server.execute("VACUUM ANALYZE", DATABASE)
        subprocess.run(["sh", "-c", f"{self._aws} mb s3://{BUCKET}"], env=self._plain,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        done = subprocess.run(
            [*self._ours, "backup", "--json"],
            env=self._own,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        self.taken = json.loads(done.stdout)
        size: int = self.taken["dump_bytes"]
        return size

    def clear(self, *more: str) -> None:
        """Drop what earlier runs have made."""
        made = "SELECT datname FROM pg_database WHERE datname ~ '^bench_' OR datname = ANY(%s)"
        for (name,) in self.server.execute(made, params=(list(more),)):
            drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            self.server.execute(drop)
        if more:
            roles = "SELECT rolname FROM pg_roles WHERE rolname ~ '^school_'"
            for (name,) in self.server.execute(roles):
                self.server.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
        self.server.execute("CHECKPOINT")

    def _measured(self, argv: list[str], environment: Mapping[str, str]) -> Run:
        postmaster = int((self.server.data / "postmaster.pid").read_text().split()[0])
        before = ticks(postmaster, children=True) + ticks(self.store)
        began = time.monotonic()
        with (
            tempfile.TemporaryFile(dir=self.folder) as out,
            tempfile.TemporaryFile(dir=self.folder) as said,
        ):
            process = subprocess.Popen(argv, env=dict(environment), stdout=out, stderr=said)
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.monotonic() - began
            process.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0)
            said.seek(0)
            text = out.read()
            if process.returncode:
                sys.exit(f"{argv[0]} failed ({process.returncode}):\n{said.read().decode()}")
            if os.environ.get("BENCH_STEPS"):
                print(said.read().decode())
        self._rest()
        cpu = usage.ru_utime + usage.ru_stime
        cpu += ticks(postmaster, children=True) + ticks(self.store) - before
        down = json.loads(text)["downtime_seconds"] if text.startswith(b"{") else seconds
        return Run(seconds, cpu, usage.ru_maxrss / 1024, down)

    def _rest(self) -> None:
        """Wait until the server's processes have ended: what they took is known only then."""
        busy = """SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()
            AND backend_type IN ('client backend', 'parallel worker')"""
        while self.server.execute(busy):
            time.sleep(0.05)
        time.sleep(0.2)

    def script(self) -> Run:
        """``aws s3 cp - | gunzip | psql`` into an empty database."""
        self.clear()
        self.server.execute(f"CREATE DATABASE {DATABASE}_script TEMPLATE template0")
        pipe = (
            f"{self._aws} cp --quiet s3://{BUCKET}/{self.taken['key']} - | gunzip | "
            f"psql -q -v ON_ERROR_STOP=1 -o /dev/null -d {DATABASE}_script"
        )
        return self._measured(["sh", "-c", pipe], self._plain)

    def ours(self) -> Run:
        """Beside, compared and swapped."""
        self.clear()
        return self._measured([*self._ours, "restore", self.taken["backup"], "--json"], self._own)


def compared(bench: Bench, rounds: int) -> tuple[list[Run], list[Run]]:
    """The script's runs and ours, in turns; who begins changes."""
    script, ours = [], []
    for number in range(rounds):
        first = (lambda: script.append(bench.script()), lambda: ours.append(bench.ours()))
        for run in first if number % 2 == 0 else reversed(first):
            run()
    return script, ours


def row(name: str, size: int, script: list[Run], ours: list[Run]) -> str:
    """A line of the table; medians, and of the ratio the spread."""

    def middle(runs: list[Run], what: str) -> float:
        return statistics.median(getattr(run, what) for run in runs)

    ratios = sorted(mine.seconds / other.seconds for mine, other in zip(ours, script, strict=True))
    return (
        f"| {name}, {size / 1e6:.0f} MB | {middle(script, 'seconds'):.1f} "
        f"| {middle(ours, 'seconds'):.1f} "
        f"| {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) "
        f"| {middle(script, 'cpu'):.1f} | {middle(ours, 'cpu'):.1f} "
        f"| {max(run.peak for run in ours):.0f} "
        f"| {max(run.downtime for run in ours):.2f} |"
    )


HEAD = (
    "| database | script, s | ours, s | ours / script (spread) | script, CPU s | ours, CPU s "
    "| ours, peak MiB | downtime, s |\n| --- | --- | --- | --- | --- | --- | --- | --- |"
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.restores", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="1 is about 400 MB of dump each")
    parser.add_argument("--major", type=int, default=0)
    parser.add_argument("--databases", nargs="+", choices=DATABASES, default=list(DATABASES))
    parser.add_argument("--stores", nargs="+", choices=STORES, default=list(STORES))
    parser.add_argument("--short", action="store_true", help="within five minutes")
    arguments = parser.parse_args()
    if arguments.short:
        arguments.rounds, arguments.scale = 2, _SHORT
    if not shutil.which("aws"):
        sys.exit("The shell scripts need the AWS CLI: sudo apt-get install awscli")
    kinds = {"rclone": light_store, "seaweedfs": heavy_store}
    # ended by timeout, it takes its servers along
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped"))
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT) as name:
        folder = Path(name)
        settings = {"max_wal_size": "4GB"}
        server = PostgresServer(folder / "postgres", arguments.major, settings=settings)
        server.start()
        try:
            print(f"{os.cpu_count()} CPUs, PostgreSQL {server.major}, {arguments.rounds} rounds")
            for kind in arguments.stores:
                secret = os.urandom(16).hex()
                (folder / kind).mkdir()
                with kinds[kind](folder / kind, secret) as store:
                    bench = Bench(folder / kind, server, store, secret)
                    print(f"\nOut of {kind}:\n\n{HEAD}", flush=True)
                    for one in arguments.databases:
                        size = bench.fill(one, arguments.scale)
                        print(row(one, size, *compared(bench, arguments.rounds)), flush=True)
        finally:
            server.remove()


if __name__ == "__main__":
    main()
