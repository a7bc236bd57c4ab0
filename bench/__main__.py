"""How fast, beside the limit and beside the shell scripts: ``make bench``.

Everything is measured in one run on one machine, so only the ratios mean something elsewhere. A
real PostgreSQL and a real S3 server share the machine with what is measured, as on a small server.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from demo import sample
from demo.postgres_server import PostgresServer
from demo.s3_server import SeaweedFS

ROOT = Path(__file__).resolve().parent.parent
DATABASE, BUCKET = "bench", "bench-backups"
#: scale of the sample from which single tables are taken, at most: about 400 MB of dump
_MOST_OF_TABLES = 16.0


class Bench:
    """One run in one scratch folder."""

    def __init__(self, folder: Path, scale: float) -> None:
        self.folder, self.scale, self.rows = folder, scale, []
        self.server = PostgresServer(folder / "postgres", settings={"max_wal_size": "4GB"})
        self.s3 = SeaweedFS(folder / "s3", "bench-key", os.urandom(16).hex())

    def measure(self, what: str, command: list[str], environment: dict[str, str]) -> float:
        """Run to its end; its seconds, and the peak memory of the process (``ru_maxrss``)."""
        began = time.monotonic()
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        text = process.stderr.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stderr.close()
        if process.returncode:
            sys.exit(f"{what} failed ({process.returncode}):\n{text}")
        self.rows.append((what, seconds, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime))
        print(f"  {what}: {seconds:.1f} s, {usage.ru_maxrss / 1024:.0f} MiB", flush=True)
        return seconds

    def config(self) -> Path:
        path = self.folder / "backup-config.env"
        path.touch(mode=0o600)
        values = {
            "SERVER_NAME": "bench",
            "DB_HOST": self.server.host,
            "DB_PORT": self.server.port,
            "DB_NAME": DATABASE,
            "DB_USER": self.server.superuser,
            "DB_PASSWORD": self.server.password,
            "PG_BIN_DIR": self.server.bin_dir,
            "S3_ENDPOINT_URL": self.s3.endpoint_url,
            "S3_BUCKET_NAME": BUCKET,
            "AWS_ACCESS_KEY_ID": self.s3.access_key,
            "AWS_SECRET_ACCESS_KEY": self.s3.secret_key,
            "STATE_DIR": self.folder / "state",
        }
        path.write_text("".join(f"{name}='{value}'\n" for name, value in values.items()))
        return path

    def run(self, rounds: int) -> None:
        self.server.start()
        self.s3.start()
        self.server.execute(f"CREATE DATABASE {DATABASE}")
        print(f"Loading the sample database at scale {self.scale:g} ...", flush=True)
        sample.load(self.server.dsn(DATABASE), scale=self.scale)
        self.server.execute("VACUUM ANALYZE", DATABASE)
        self.server.execute("CHECKPOINT")
        plain = self.server.environment(DATABASE) | {
            "PATH": f"{self.server.bin_dir}:{os.environ['PATH']}"
        }
        plain |= {
            "AWS_ACCESS_KEY_ID": self.s3.access_key,
            "AWS_SECRET_ACCESS_KEY": self.s3.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        plain |= {
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
            "HOME": str(self.folder),
        }
        ours = [sys.executable, "-m", "postgres_backup", "--config", str(self.config())]
        own = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "module_utils")}
        aws = f"aws --endpoint-url {self.s3.endpoint_url} s3"
        self.measure("(the bucket is made)", ["sh", "-c", f"{aws} mb s3://{BUCKET}"], plain)
        for _ in range(rounds):
            self.measure("pg_dump > /dev/null", ["sh", "-c", "pg_dump"], plain)
            self.measure("backup: postgres-backup", [*ours, "backup"], own)
            file = self.folder / "dump.sql.gz"
            there = f"s3://{BUCKET}/script.sql.gz"
            script = f"set -e; pg_dump | gzip > {file}; {aws} cp --quiet {file} {there}; rm {file}"
            self.measure("backup: the shell script", ["sh", "-c", script], plain)
            for name in (f"{DATABASE}_plain", f"{DATABASE}_script"):
                self.server.execute(f"DROP DATABASE IF EXISTS {name}")
                self.server.execute(f"CREATE DATABASE {name} TEMPLATE template0")
            pipe = (
                f"{aws} cp --quiet {there} - | gunzip | "
                f"psql -q -v ON_ERROR_STOP=1 -o /dev/null -d {DATABASE}_script"
            )
            self.measure(
                "restore: the shell script (the application waits)", ["sh", "-c", pipe], plain
            )
            self.measure(
                "restore: postgres-backup (beside, compared, swapped)",
                [*ours, "restore", "latest"],
                own,
            )

    def table(self) -> list[str]:
        """The median of each measurement, and what it is of the limit's and the script's."""
        found: dict[str, list[tuple]] = {}
        for what, *numbers in self.rows:
            found.setdefault(what, []).append(numbers)
        middle = {
            what: sorted(rows)[len(rows) // 2]
            for what, rows in found.items()
            if not what.startswith("(")
        }
        limit, script = middle["pg_dump > /dev/null"][0], middle["backup: the shell script"][0]
        lines = [
            "| | seconds | of the limit | script's / this | peak MiB | CPU s |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for what, (seconds, peak, cpu) in middle.items():
            of_limit, times = (
                (f"{seconds / limit:.2f}", f"{script / seconds:.1f}")
                if "restore" not in what
                else ("", "")
            )
            lines.append(
                f"| {what} | {seconds:.1f} | {of_limit} | {times} | {peak:.0f} | {cpu:.1f} |"
            )
        return lines


def _run_module(name: str, *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", name, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "module_utils")},
        check=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--scale",
        type=float,
        default=42.0,
        help="size of the sample database; 42 is about 1 GB of dump",
    )
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument(
        "--restores", type=int, default=5, help="rounds of restores beside the script; 0: none"
    )
    arguments = parser.parse_args()
    if not shutil.which("aws"):
        sys.exit("The shell scripts need the AWS CLI: sudo apt-get install awscli")
    _run_module("bench.page")
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT) as folder:
        bench = Bench(Path(folder), arguments.scale)
        try:
            bench.run(arguments.rounds)
            machine = f"{os.cpu_count()} CPUs, {platform.machine()}"
            print(f"\n{machine}, PostgreSQL {bench.server.major}\n")
            print("\n".join(bench.table()), flush=True)
        finally:
            bench.s3.stop()
            bench.server.remove()
    part = min(1.0, arguments.scale / _MOST_OF_TABLES)
    scale = f"{min(arguments.scale, _MOST_OF_TABLES):g}"
    _run_module("bench.tables", "--scale", scale, "--rounds", "1")
    if rounds := arguments.restores:
        _run_module("bench.restores", "--rounds", str(rounds), "--scale", f"{part:.3g}")


if __name__ == "__main__":
    main()
