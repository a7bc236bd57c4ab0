"""There and back again: what every database must stand, whatever it holds and however it is set."""

from __future__ import annotations

import subprocess

from demo.postgres_server import PostgresServer
from postgres_backup.backup.database import create_backup
from postgres_backup.job import Job
from postgres_backup.restore.database import restore_database, undo_restore
from postgres_backup.settings import Settings
from postgres_backup.verify.verify import verify_backup


def dump_of(server: PostgresServer, name: str) -> bytes:
    """The whole database, by stock ``pg_dump`` in the database's own encoding, without what differs
    between two dumps of the same.
    """
    with server.connect(name) as connection:
        encoding = connection.pgconn.parameter_status(b"server_encoding").decode()
    done = subprocess.run(
        [server.bin_dir / "pg_dump", f"--encoding={encoding}"],
        env=server.environment(name) | {"PGOPTIONS": "-c bytea_output=hex -c lock_timeout=0"},
        capture_output=True,
        check=True,
    )
    lines = done.stdout.split(b"\n")
    return b"\n".join(
        line for line in lines if not line.startswith((b"\\restrict ", b"\\unrestrict "))
    )


def run_psql(server: PostgresServer, name: str, text: str | bytes, encoding: str = "") -> None:
    """Statements by psql, which reads every encoding; the database's own where none is named."""
    subprocess.run(
        [server.bin_dir / "psql", "-XqAt", "--set=ON_ERROR_STOP=1", "--output=/dev/null"],
        env=server.environment(name) | ({"PGCLIENTENCODING": encoding} if encoding else {}),
        input=text.encode() if isinstance(text, str) else text,
        check=True,
    )


def there_and_back(
    settings: Settings, server: PostgresServer, damage: str, *, in_place: bool = False
) -> None:
    """Back up, verify, damage, restore, undo, restore once more; each time the right dump.

    :param damage: SQL that makes another database of it.
    """
    name = settings.databases[0]
    whole = dump_of(server, name)
    taken = create_backup(Job(settings))
    found = [found for found in taken["findings"] if found["code"] != "UNPROVEN"]
    assert found == [], found
    found = verify_backup(Job(settings), "latest")["findings"]
    assert found == [], found
    run_psql(server, name, damage)
    damaged = dump_of(server, name)
    assert damaged != whole
    for _ in range(2):
        restored = restore_database(Job(settings), "latest", in_place_wanted=in_place)
        assert "SCHEMA_DIFFERS" not in {found["code"] for found in restored["findings"]}
        assert restored["rows"] == taken["rows"]
        assert dump_of(server, name) == whole
        if in_place:
            break
        undo_restore(Job(settings))
        assert dump_of(server, name) == damaged
