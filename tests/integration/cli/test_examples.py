"""Every example of a command's help works as it stands there, and what a terminal of 80 columns
shows of it fits.
"""

from __future__ import annotations

import os
import pty
import shlex
import struct
import sys
import termios
from fcntl import ioctl

import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.backup.kit import create_kit
from postgres_backup.cli.commands import COMMANDS
from postgres_backup.cli.main import main
from postgres_backup.copying.copy import copy_backups
from postgres_backup.job import Job
from tests.services.receivers import HttpReceiver

WIDTH = 80
#: of a cluster that archives, on a server of its own: tests/servers/test_pitr.py types these
ELSEWHERE = ("pitr-backup", "pitr-drill", "pitr-look")
#: 27 commands, each with a process of its own
pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def ready(config, database, s3, new_bucket, tmp_path):
    """A database with what the examples name, the files of a kit, and a second store that has a
    backup.
    """
    for table in ("users", "orders"):
        database.execute(f"CREATE TABLE {table} AS SELECT n AS id FROM generate_series(1, 9) n")
        database.execute(f'ALTER TABLE {table} OWNER TO "{database.owner}"')
    (tmp_path / "app").mkdir()
    (tmp_path / "app/.env").write_text("SECRET=no\n")
    config.change(BACKUP_PATHS=f"'{tmp_path}/app'", KIT_PLAIN="true", CONTACT="Aigul")
    create_kit(Job(config.settings))  # a drill looks for it
    with HttpReceiver() as receiver:
        config.change(ALERT_URLS=f"json://127.0.0.1:{receiver.port}/")
        config.change(
            COPY_ENDPOINT_URL=s3.endpoint_url,
            COPY_BUCKET_NAME=new_bucket(s3),
            COPY_ACCESS_KEY_ID=s3.access_key,
            COPY_SECRET_ACCESS_KEY=s3.secret_key,
        )
        create_backup(Job(config.settings))
        copy_backups(Job(config.settings))
        yield config


def on_a_terminal(config, *words: str) -> tuple[int, str]:
    """The status, and all that a terminal shows.

    In a copy of this process: it has all libraries already, and 27 commands have to be loaded.
    """
    child, terminal = pty.fork()
    if child == 0:
        status = 99
        # its threads were those of the process that was copied, and are not in the copy
        for name in [name for name in sys.modules if name.partition(".")[0] == "apprise"]:
            del sys.modules[name]
        try:
            ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, WIDTH, 0, 0))
            with (
                open(1, "w", closefd=False) as sys.stdout,
                open(2, "w", closefd=False) as sys.stderr,
            ):
                status = main(["--config", str(config), *words])
        finally:
            os._exit(status)  # nothing of pytest goes on in it
    shown = b""
    try:
        while piece := os.read(terminal, 65536):
            shown += piece
    except OSError:  # everybody has closed it
        pass
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown.decode()


def test_every_example_works_and_fits_a_terminal(ready, tmp_path):
    places = {"/tmp/kit": f"{tmp_path}/kit", "/var/log": str(tmp_path), "crm_look": "look_at_it"}
    for command in COMMANDS.values():
        for example in command.examples:
            if example.partition(" ")[0] in ELSEWHERE:
                continue
            for shown, here in places.items():
                example = example.replace(shown, here)
            status, seen = on_a_terminal(ready.path, *shlex.split(example))
            # adopt without --yes only lists, and there is nothing to list here
            assert status == 0, (example, seen)
            # nothing has a colour, so there is none to be switched off by NO_COLOR
            assert "\x1b[" not in seen.replace("\x1b[2K", ""), example
            if "--json" not in example and not command.in_the_background:
                for line in seen.replace("\r\x1b[2K", "\n").splitlines():
                    # a word that is wider (a path of this test) stands alone
                    assert len(line) <= WIDTH or len(line.split()) == 1, (example, line)


def test_an_error_and_an_alarm_fit_too(ready):
    status, seen = on_a_terminal(ready.path, "restore", "postgres-backup-2020")
    assert status == 2
    assert all(len(line) <= WIDTH for line in seen.splitlines()), seen
    ready.change(DB_HOST="127.0.0.1", DB_PORT=1)
    status, seen = on_a_terminal(ready.path, "restore", "latest")
    assert status in (1, 2)
    assert all(len(line) <= WIDTH for line in seen.splitlines()), seen
