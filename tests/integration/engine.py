"""The program as users start it, and how a test looks at what it left behind."""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import json
import os
import subprocess
import sys
import types
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from demo.postgres_server import PostgresServer
from postgres_backup.catalog import manifest
from postgres_backup.catalog.names import BackupName, Layout
from postgres_backup.clock import format_timestamp
from postgres_backup.stream.inspector import Inspector
from tests.services import forking
from tests.services.signing import put_signed

ROOT = Path(__file__).resolve().parents[2]


def command(config: os.PathLike | str, *arguments: str) -> list[str]:
    """The argument list that runs the engine of this checkout."""
    return [sys.executable, "-m", "postgres_backup", "--config", str(config), *arguments]


def environment(**more: str) -> dict[str, str]:
    """As little as cron gives, and where the package lies."""
    return {"PATH": os.defpath, "PYTHONPATH": str(ROOT / "module_utils")} | more


def run(
    config: os.PathLike | str,
    *arguments: str,
    timeout: float = 120,
    env: Mapping[str, str] | None = None,
    **more,
) -> subprocess.CompletedProcess:
    """Run the engine to its end, standard output and error as text.

    What needs nothing of its own is forked, see :mod:`tests.services.forking`.
    """
    if env is None and not more:
        return forking.run(["--config", str(config), *arguments], environment(), timeout)
    return subprocess.run(
        command(config, *arguments),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=environment() if env is None else env,
        **more,
    )


#: runs the program and tells the largest memory that it and each of its children had, in kB; small
#: itself, because a process begins with its parent's figure, and a long test run's is large
MEASURED = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
said = {"status": done.returncode, "peak_kb": peak, "out": done.stdout, "err": done.stderr}
print(json.dumps(said))
"""


def measured(config, *arguments: str) -> dict:
    """Run the engine to its end: ``status peak_kb out err``."""
    argv = [sys.executable, "-c", MEASURED, *command(config.path, *arguments)]
    return json.loads(
        subprocess.run(
            argv, capture_output=True, text=True, check=True, env=environment(), timeout=280
        ).stdout
    )


#: runs the program within itself and tells the largest memory that it had, and that PostgreSQL's
#: programs had which it started, in kB
APART = """
import json, resource, sys
from postgres_backup.cli.main import main
sys.argv = ["postgres-backup", *sys.argv[1:]]
status = main()
who = {"own_kb": resource.RUSAGE_SELF, "programs_kb": resource.RUSAGE_CHILDREN}
peaks = {name: resource.getrusage(one).ru_maxrss for name, one in who.items()}
print(json.dumps({"status": status, **peaks}), file=sys.stderr)
"""


def measured_apart(config, *arguments: str) -> dict:
    """Run the engine to its end: ``status own_kb programs_kb out err``."""
    own = [sys.executable, "-c", APART, "--config", str(config.path), *arguments]
    argv = [sys.executable, "-c", MEASURED, *own]
    done = json.loads(
        subprocess.run(
            argv, capture_output=True, text=True, check=True, env=environment(), timeout=280
        ).stdout
    )
    said = done["err"].splitlines()
    return json.loads(said[-1]) | {"out": done["out"], "err": "\n".join(said[:-1])}


@contextlib.contextmanager
def started(config: os.PathLike | str, *arguments: str, **more) -> Iterator[subprocess.Popen]:
    """The engine at work, as the head of a process group of its own; killed at the end if it still
    runs.
    """
    more = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
        "env": environment(),
        "start_new_session": True,
    } | more
    with subprocess.Popen(command(config, *arguments), **more) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def answer(done: subprocess.CompletedProcess) -> dict:
    """The one JSON object on standard output."""
    lines = done.stdout.splitlines()
    assert len(lines) == 1, (done.stdout, done.stderr)
    return json.loads(lines[0])


def failed_well(done, status: int, *words: str) -> str:
    """A failure as the contract wants it: its status, one sentence and a hint, never a traceback;
    the text of both streams.
    """
    text = done.stdout + done.stderr
    assert done.returncode == status, (done.returncode, text)
    assert "Traceback" not in text
    assert "Failed unexpectedly" not in text
    sentence = [line for line in done.stderr.splitlines() if line.startswith("postgres-backup: ")]
    assert len(sentence) == 1, text
    for word in words:
        assert word.lower() in text.lower(), (word, text)
    return text


def processes(*words: str) -> list[int]:
    """The processes whose argument list holds every word."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().decode(errors="replace")
                state = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if state != "Z" and all(word in line for word in words):
                found.append(int(entry.name))
    return found


def programs_at_work(server: PostgresServer, *words: str) -> list[int]:
    """PostgreSQL's client programs that talk to a server (its port is in their arguments)."""
    return [
        pid
        for name in ("pg_dump", "pg_restore", "psql")
        for pid in processes(name, f"-p\0{server.port}\0", *words)
    ]


def keys(client, bucket: str, prefix: str = "") -> list[str]:
    """Every key in a bucket."""
    return [
        item["Key"]
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        for item in page.get("Contents", [])
    ]


def unfinished(client, bucket: str) -> list[str]:
    """Keys of uploads that were neither completed nor aborted."""
    return [
        upload["Key"] for upload in client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    ]


def manifest_of(client, bucket: str, taken: Mapping) -> dict:
    """The manifest of a backup as its result names it."""
    folder, _, name = taken["key"].rpartition("/")
    return json.loads(
        client.get_object(Bucket=bucket, Key=f"{folder}/manifests/{name.split('.')[0]}.json")[
            "Body"
        ].read()
    )


def dump_of(client, bucket: str, taken: Mapping) -> bytes:
    """The plain dump inside a ``.sql.gz``, by Python's own gzip."""
    return gzip.decompress(client.get_object(Bucket=bucket, Key=taken["key"])["Body"].read())


def nothing_left(client, bucket: str, state_dir: str = "") -> None:
    """A run that failed left no object but its note in the journal, no parts, and no lock."""
    left = [key for key in keys(client, bucket) if "/journal/" not in key]
    assert left == []
    assert unfinished(client, bucket) == []
    if state_dir:
        for lock in Path(state_dir).glob("*.lock"):
            with open(lock, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def fill_with_noise(server: PostgresServer, database: str, megabytes: int) -> None:
    """A table ``noise`` whose dump has so many MB and shrinks to no less than three quarters of it
    when packed.
    """
    server.execute(
        "CREATE TABLE noise (id bigint, body text);"
        " ALTER TABLE noise ALTER body SET STORAGE EXTERNAL",
        database,
    )
    letters = r"translate(encode(sha512(((i * 11 + j)::text)::bytea), 'base64'), E'\n', '')"
    server.execute(
        f"""INSERT INTO noise
            SELECT i, (SELECT string_agg({letters}, '') FROM generate_series(1, 11) j)
            FROM generate_series(1, {megabytes * 1000}) i""",
        database,
    )


#: a whole plain dump of two rows, as pg_dump writes it
SMALL_DUMP = b"""--
-- PostgreSQL database dump
--

-- Dumped from database version 16.3
-- Dumped by pg_dump version 16.3

SET statement_timeout = 0;

CREATE TABLE public.t (
    id integer
);

COPY public.t (id) FROM stdin;
1
2
\\.


--
-- PostgreSQL database dump complete
--

"""


#: what a config is made from where no server is asked: nothing answers at port 1
NO_SERVER = types.SimpleNamespace(
    name="crm",
    owner="crm",
    password="not-a-password",
    server=types.SimpleNamespace(host="127.0.0.1", port=1, major=16),
)


def forge(
    client,
    bucket: str,
    taken_at: datetime,
    *,
    database: str = "crm",
    server: str = "test-server",
    prefix: str = "postgres-backup",
    folder: str = "",
    suffix: str = ".sql.gz",
    encrypted: bool = False,
    body: bytes | None = None,
    dump: bytes = SMALL_DUMP,
    with_manifest: bool = True,
    proven: bool = False,
    change: Mapping[str, object] | None = None,
    signed: bool = True,
) -> str:
    """Put a backup of a made-up age into a bucket: object, globals and manifest, or the object
    alone as the old scripts did; its name.

    :param change: of the manifest.
    :param signed: by somebody whom every test's server believes.
    """
    name, layout = BackupName(taken_at, suffix, encrypted), Layout(prefix, folder)
    body = gzip.compress(dump, mtime=0) if body is None else body
    client.put_object(Bucket=bucket, Key=layout.backup(name), Body=body)
    if not with_manifest:
        return str(name)
    inspector = Inspector()
    inspector.feed(dump)
    report = inspector.finish()
    tables = manifest.tables_of(report)
    client.put_object(Bucket=bucket, Key=layout.globals(name), Body=gzip.compress(b"-- roles"))
    facts = {
        "name": str(name),
        "database": database,
        "server": {"name": server},
        "started_at": format_timestamp(taken_at),
        "bytes": len(body),
        "dump_bytes": len(dump),
        "rows": sum(table["rows"] for table in tables.values()),
        "sha256": hashlib.sha256(body).hexdigest(),
        "tables": tables,
        "globals": {"key": layout.globals(name), "bytes": 1, "passwords": False},
    }
    data = manifest.dump(facts | dict(change or {}))
    if signed:
        put_signed(client, bucket, layout.manifest(name), data)
    else:
        client.put_object(Bucket=bucket, Key=layout.manifest(name), Body=data)
    if proven:
        forge_proof(client, bucket, layout, name, taken_at, data)
    return str(name)


def forge_proof(
    client,
    bucket: str,
    layout: Layout,
    name: BackupName,
    at: datetime,
    manifest_data: bytes,
    **change: object,
) -> str:
    """Put a proof of a backup beside it; its key.

    :param manifest_data: the manifest as it lies in the bucket.
    :param change: of the proof.
    """
    described = json.loads(manifest_data)
    record = {
        "backup": str(name),
        "database": described["database"],
        "server": described["server"].get("name", ""),
        "kind": "read",
        "at": format_timestamp(at),
        "by": "test-server",
        "manifest_sha256": hashlib.sha256(manifest_data).hexdigest(),
    }
    key = layout.proof(name, at)
    put_signed(client, bucket, key, json.dumps(record | change).encode())
    return key


def proofs_of(client, bucket: str, taken: Mapping) -> list[dict]:
    """The proofs that lie beside a backup as its result names it, oldest first."""
    folder, _, name = taken["key"].rpartition("/")
    return [
        json.loads(client.get_object(Bucket=bucket, Key=key)["Body"].read())
        for key in keys(client, bucket, f"{folder}/proofs/{name.split('.')[0]}-")
        if not key.endswith(".sig")
    ]
