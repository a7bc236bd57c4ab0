"""The command line: how it asks, how it answers, and how it fails."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys

import pytest

from demo import sample
from tests.integration import engine

COMMANDS = {
    "backup": [],
    "list": [],
    "restore": ["latest"],
    "undo-restore": [],
    "prune": [],
    "status": [],
    "verify": ["latest"],
    "adopt": [],
    "run": [],
}


@pytest.fixture
def sample_config(config, sample_database):
    config.change(**sample_database.as_superuser)
    return config


def test_help_is_complete():
    shown = engine.run("/nonexistent", "--help")
    assert shown.returncode == 0
    for command in COMMANDS:
        assert re.search(rf"^    {command}( |$)", shown.stdout, re.MULTILINE), command
        one = (
            engine.run("/nonexistent", command, "--help").stdout
            if command in ("backup", "run")
            else None
        )
        if one:
            assert "--config" in one
            assert "--json" in one
    assert "Exit status: 0 done" in shown.stdout
    assert "--tables" in engine.run("/nonexistent", "backup", "--help").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["bogus"],
        ["restore"],
        ["verify"],
        ["backup", "--tables"],
        ["prune", "--keep", "3"],
        ["backup", "extra"],
    ],
    ids=" ".join,
)
def test_wrong_usage(arguments):
    text = engine.failed_well(engine.run("/nonexistent", *arguments), 2, "--help")
    assert len(text.splitlines()) == 2
    done = (
        engine.run("/nonexistent", "--json", *arguments) if arguments in ([], ["bogus"]) else None
    )
    if done:
        assert engine.answer(done)["exit_status"] == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_fails_as_one_json_object(config, command):
    """The same shape from each."""
    config.change(S3_BUCKET_NAME="no-such-bucket-of-a-test")
    done = engine.run(config.path, command, *COMMANDS[command], "--json")
    found = engine.answer(done)
    assert "Traceback" not in done.stderr
    if command == "undo-restore":  # that one asks PostgreSQL alone, and there is nothing to undo
        assert (done.returncode, found["exit_status"], found["failed"]) == (2, 2, True)
    elif command == "run":
        assert (done.returncode, found["exit_status"]) == (1, 1)
        assert "no-such-bucket-of-a-test" in str(found["databases"])
    else:
        assert (done.returncode, found["exit_status"], found["failed"]) == (1, 1, True)
        assert "no-such-bucket-of-a-test" in found["error"]
        assert found["hint"]


def test_every_command_answers_with_one_json_object(sample_config):
    expected = {
        ("backup",): {
            "changed",
            "backup",
            "database",
            "key",
            "bytes",
            "dump_bytes",
            "rows",
            "seconds",
            "sha256",
            "findings",
        },
        ("list",): {"backups", "waiting", "changed"},
        ("verify", "latest"): {
            "backup",
            "database",
            "key",
            "bytes",
            "dump_bytes",
            "rows",
            "seconds",
            "sha256",
            "findings",
            "changed",
        },
        ("prune",): {"deleted", "kept", "database", "findings", "changed"},
        ("adopt",): {"adopted", "refused", "database", "findings", "changed"},
        ("status",): {"healthy", "findings", "databases", "next_run", "server"},
        ("restore", "latest"): {
            "backup",
            "database",
            "kept_database",
            "downtime_seconds",
            "rows",
            "seconds",
            "findings",
            "changed",
        },
        ("undo-restore",): {"database", "changed"},
        ("run",): {"databases", "exit_status", "seconds", "changed"},
    }
    for arguments, keys in expected.items():
        done = engine.run(sample_config.path, *arguments, "--json")
        assert done.returncode == 0, (arguments, done.stderr)
        assert keys <= engine.answer(done).keys(), arguments


# --- errors ---


def broken(config, database, kind: str) -> None:
    changes = {
        "wrong password": {"DB_PASSWORD": "wrong-password-of-a-test"},
        "no such user": {"DB_USER": "nobody_of_that_name"},
        "server down": {"DB_PORT": 1},
        "no such host": {"DB_HOST": "no-such-host.invalid"},
        "no such database": {"DB_NAME": "not_there"},
        "no pg_dump": {"PG_BIN_DIR": config.path.parent},
        "wrong secret key": {"AWS_SECRET_ACCESS_KEY": "wrong-secret-of-a-test"},
        "unknown access key": {"AWS_ACCESS_KEY_ID": "nobody"},
        "no such bucket": {"S3_BUCKET_NAME": "no-such-bucket-of-a-test"},
        "endpoint dead": {"S3_ENDPOINT_URL": "http://127.0.0.1:1"},
        "endpoint is PostgreSQL": {"S3_ENDPOINT_URL": f"http://127.0.0.1:{database.server.port}"},
        "no such endpoint": {"S3_ENDPOINT_URL": "https://no-such-host.invalid"},
        "no such CA bundle": {"S3_CA_BUNDLE": "/nonexistent/ca.pem"},
    }
    config.change(**changes[kind])


BROKEN = {
    "wrong password": (1, "password authentication failed", "backup_db_password"),
    "no such user": (1, "password authentication failed", "backup_db_user"),
    "server down": (1, "127.0.0.1:1", "backup_db_port"),
    "no such host": (1, "no-such-host.invalid", "backup_db_host"),
    "no such database": (1, "not_there", "does not exist", "backup_db_name"),
    "no pg_dump": (1, "Failed to find pg_dump 16", "backup_pg_bin_dir"),
    "wrong secret key": (1, "secret key does not fit", "AWS_SECRET_ACCESS_KEY"),
    "unknown access key": (1, "does not know the access key", "AWS_ACCESS_KEY_ID"),
    "no such bucket": (1, "no bucket", "backup_s3_bucket"),
    "endpoint dead": (1, "nothing answers at http://127.0.0.1:1", "backup_s3_endpoint_url"),
    "endpoint is PostgreSQL": (1, "backup_s3_endpoint_url"),
    "no such endpoint": (1, "cannot be resolved", "backup_s3_endpoint_url"),
    "no such CA bundle": (2, "/nonexistent/ca.pem", "backup_s3_ca_bundle"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_wrong_is_said_in_a_sentence_with_a_way_out(
    config, database, s3_client, bucket, kind
):
    broken(config, database, kind)
    status, *words = BROKEN[kind]
    text = engine.failed_well(engine.run(config.path, "backup", timeout=60), status, *words)
    assert len(text.splitlines()) <= 3, text
    for secret in config.settings.secrets:
        assert secret not in text
    engine.nothing_left(s3_client, bucket)


def test_the_package_to_install_is_named(config, database, monkeypatch):
    """Without PG_BIN_DIR: which package of which major is missing."""
    from postgres_backup.errors import DatabaseError
    from postgres_backup.postgresql import programs

    monkeypatch.setattr(programs, "_PACKAGED", "/nonexistent/{major}/bin")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(DatabaseError, match="server is PostgreSQL 16") as caught:
        programs.find(config.change(PG_BIN_DIR=None), 16)
    assert "apt-get install postgresql-client-16" in caught.value.hint


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_config_that_others_may_read(config, mode):
    config.path.chmod(mode)
    engine.failed_well(engine.run(config.path, "list"), 2, "others may read it", "chmod 0600")


def test_a_config_that_is_not_there_or_not_right(config, tmp_path):
    engine.failed_well(engine.run(tmp_path / "none.env", "list"), 2, "none.env", "setup.yml")
    engine.failed_well(engine.run(tmp_path, "list"), 2, str(tmp_path))
    right = config.path.read_text()
    config.path.write_text(right.replace(f"DB_PORT={config.values['DB_PORT']}", "DB_PORT=many"))
    engine.failed_well(engine.run(config.path, "list"), 2, "DB_PORT", "'many'")
    config.path.write_text(right + "S3_REGION='never closed\n")
    engine.failed_well(engine.run(config.path, "list"), 2, "never closed")
    config.path.write_bytes(b"\xff\xfe")
    engine.failed_well(engine.run(config.path, "list"), 2, "Line 1 of the config", "UTF-8")


# --- readers that leave, logs that are full ---


def test_a_reader_that_leaves(sample_config):
    engine.run(sample_config.path, "backup")
    with engine.started(sample_config.path, "list") as process:
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr.read() == ""


def test_a_log_that_nobody_takes_is_no_reason_to_fail(sample_config):
    with engine.started(sample_config.path, "backup", "--json") as process:
        process.stderr.close()
        out = process.stdout.read()
        assert process.wait(60) == 0
    assert json.loads(out)["rows"] > 0


def test_a_log_on_a_full_disk_is_no_reason_to_fail(sample_config):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            engine.command(sample_config.path, "run"),
            stdout=full,
            stderr=full,
            env=engine.environment(),
            check=False,
            timeout=100,
        )
    assert done.returncode == 0


# --- progress ---


def on_a_terminal(argv: list[str]) -> str:
    """What a person sees: standard error is a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        argv, stdout=subprocess.DEVNULL, stderr=theirs, env=engine.environment(TERM="xterm")
    ) as process:
        os.close(theirs)
        seen = b""
        while True:
            if select.select([ours], [], [], 100)[0]:
                try:
                    data = os.read(ours, 65536)
                except OSError:  # the other side is closed (EIO)
                    break
                seen += data
        assert process.wait(60) == 0
    os.close(ours)
    return seen.decode()


def test_progress_on_a_terminal(config, database):
    server = database.server
    config.change(**database.as_superuser)
    engine.fill_with_noise(server, database.name, 40)
    seen = on_a_terminal(engine.command(config.path, "backup"))
    renewed = [line for line in seen.split("\r\x1b[2K") if "/s" in line]
    assert renewed, seen
    assert all(
        re.match(r"dumping .*: [\d.]+ [kMG]?B, [\d.]+ [kMG]?B/s", line) for line in renewed
    ), renewed
    assert any("public.noise" in line for line in renewed)
    assert "is in the bucket" in seen
    assert seen.rstrip().endswith(" s")


def test_progress_in_a_log(sample_config):
    done = engine.run(sample_config.path, "backup")
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ [\w]", line)
    assert "\x1b" not in done.stderr


def test_a_name_cannot_forge_a_line_of_the_log(new_database, new_config, s3, bucket):
    database = new_database(name="x\n2026-01-27T00:00:00Z OK server: all is well \x1b[2J")
    config = new_config(database, s3, bucket, **database.as_superuser)
    done = engine.run(config.path, "backup")
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) == 2
    assert "\x1b" not in done.stderr
    listed = engine.run(config.path, "list").stdout
    assert len(listed.splitlines()) == 2
    assert (
        json.loads(engine.run(config.path, "list", "--json").stdout)["backups"][0]["database"]
        == database.name
    )


def test_tables_between_commas(sample_config, sample_database):
    sample_database.execute('CREATE TABLE "odd, one" AS SELECT 1 AS x')
    done = engine.run(sample_config.path, "backup", "--tables", 'users, "odd, one"', "--json")
    assert done.returncode == 0, done.stderr
    assert engine.answer(done)["tables"] == 2
    assert sample.role_names()


def test_an_unforeseen_error_is_one_sentence(config, tmp_path):
    """Even a mistake of ours is no traceback."""
    code = (
        "import dataclasses, sys; from postgres_backup.cli import commands, main; "
        "commands.COMMANDS['list'] = dataclasses.replace("
        "commands.COMMANDS['list'], perform=lambda call: 1 / 0); sys.exit(main.main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--config", str(config.path), "list", "--json"],
        env=engine.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert engine.answer(done)["error"].startswith(
        "Failed unexpectedly: ZeroDivisionError at <string>:1: division by zero"
    )
