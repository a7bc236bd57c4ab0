"""No secret in an argument list, a log, an answer, an object, or a file that others may read."""

from __future__ import annotations

import os
import secrets
import stat
import struct
import threading
import zlib
from pathlib import Path

import pytest

from postgres_backup.s3.seen import NAME
from tests.integration import engine


@pytest.fixture
def guarded(sample_database, new_config, s3, bucket):
    """A config full of secrets, and the list of them."""
    server = sample_database.server
    password = (
        f'pass\'word "{secrets.token_hex(8)}"'  # what must be quoted must be hidden all the same
    )
    quoted = password.replace("'", "''")
    server.execute(f"CREATE ROLE guarded_user SUPERUSER LOGIN PASSWORD '{quoted}'")
    config = new_config(
        sample_database, s3, bucket, DB_USER="guarded_user", DB_PASSWORD=password,
        ALERT_URLS=f"tgram://{secrets.token_hex(8)}/1", PING_URL=f"https://ping.invalid/{secrets.token_hex(8)}",
    )  # fmt: skip
    return config, [*config.settings.secrets, password.replace('"', '\\"')]


@pytest.fixture
def recorder(guarded, tmp_path):
    """PostgreSQL's programs, each behind a script that writes down its argument list."""
    config, _ = guarded
    real, folder, log = Path(config.values["PG_BIN_DIR"]), tmp_path / "bin", tmp_path / "arguments"
    folder.mkdir()
    log.touch()
    for name in ("pg_dump", "pg_dumpall", "pg_restore"):
        script = folder / name
        script.write_text(
            f"#!/bin/sh\nprintf '%s\\n' {name} \"$@\" >> '{log}'\nexec '{real / name}' \"$@\"\n"
        )
        script.chmod(0o755)
    config.change(PG_BIN_DIR=folder)
    return log


class Watcher(threading.Thread):
    """Reads every process's argument list, again and again."""

    def __init__(self, wanted: list[str]) -> None:
        super().__init__(daemon=True)
        self.wanted = [word.encode() for word in wanted]
        self.seen: set[bytes] = set()
        self.looks = 0
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.001):
            self.looks += 1
            for entry in os.listdir("/proc"):
                if not entry.isdigit():
                    continue
                try:
                    line = Path("/proc", entry, "cmdline").read_bytes()
                except (FileNotFoundError, ProcessLookupError):
                    continue
                self.seen.update(word for word in self.wanted if word in line)

    def __enter__(self) -> Watcher:
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self._ended.set()
        self.join()


def test_no_secret_shows_while_everything_goes_well(guarded, recorder, s3_client, bucket):
    config, hidden = guarded
    with Watcher(hidden) as watcher:
        done = [
            engine.run(config.path, *arguments)
            for arguments in (
                ["run", "--json"],
                ["verify", "latest", "--json"],
                ["restore", "latest", "--json"],
                ["status", "--json"],
                ["list"],
            )
        ]
    assert [d.returncode for d in done] == [0] * 5, [d.stderr for d in done]
    assert watcher.looks > 5
    assert watcher.seen == set()
    arguments = recorder.read_text()
    assert {"pg_dump", "pg_dumpall"} <= set(arguments.splitlines())
    assert not [word for word in hidden if word in arguments]
    for text in (d.stdout + d.stderr for d in done):
        assert not [word for word in hidden if word in text]
    for key in engine.keys(s3_client, bucket):
        body = s3_client.get_object(Bucket=bucket, Key=key)["Body"].read()
        assert not [word for word in hidden if word.encode() in body], key
    for path in Path(config.settings.state_dir).rglob("*"):
        assert not [word for word in hidden if word.encode() in held_by(path)], path
    assert stat.S_IMODE(Path(config.settings.state_dir).stat().st_mode) & 0o007 == 0


def held_by(path: Path) -> bytes:
    """What a file of the state holds; of objects that were seen, what each is unpacked."""
    data = path.read_bytes()
    if path.name != NAME:
        return data
    texts, place = [data], len(b"pgbseen1")
    while place < len(data):
        _, _, size = struct.unpack_from(">16sII", data, place)
        place += 24 + size
        texts.append(zlib.decompress(data[place - size : place]))
    assert len(texts) > 3, "manifests and signatures"
    return b"".join(texts)


FAILURES = {
    "wrong user": {"DB_USER": "nobody_of_that_name"},
    "server down": {"DB_PORT": 1},
    "wrong access key": {"AWS_ACCESS_KEY_ID": "nobody"},
    "wrong bucket": {"S3_BUCKET_NAME": "no-such-bucket-of-a-test"},
    "dead endpoint": {"S3_ENDPOINT_URL": "http://127.0.0.1:1"},
}


@pytest.mark.parametrize("kind", FAILURES)
def test_no_secret_shows_when_something_fails(guarded, kind):
    config, hidden = guarded
    config.change(**FAILURES[kind])
    for arguments in (["backup", "--json"], ["run"]):
        done = engine.run(config.path, *arguments)
        assert done.returncode == 1, (arguments, done.stderr)
        assert not [word for word in hidden if word in done.stdout + done.stderr], (
            done.stdout + done.stderr
        )


def test_a_password_like_any_word_does_not_eat_the_answers(sample_database, new_config, s3, bucket):
    """``postgres`` is many a password, and begins the name of every backup."""
    server = sample_database.server
    server.execute("CREATE ROLE weak_user SUPERUSER LOGIN PASSWORD 'postgres'")
    config = new_config(sample_database, s3, bucket, DB_USER="weak_user", DB_PASSWORD="postgres")
    found = engine.answer(engine.run(config.path, "backup", "--json"))
    assert found["backup"].startswith("postgres-backup-")
    assert found["key"].startswith("postgres-backup/postgres-backup-")
    text = engine.failed_well(
        engine.run(config.path, "verify", "postgres-backup-2026-01-01_00-00-00.sql.gz"),
        2,
        found["backup"],
    )
    assert "postgres-backup-2026-01-01_00-00-00.sql.gz" in text
