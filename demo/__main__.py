"""The demonstration's own steps around the playbooks: ``python -m demo
start|destroy|fingerprint|stop``.

Everything lies under ``.demo/`` of the checkout. What each step prints is JSON, for the playbook.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from pathlib import Path

from . import clean, sample
from .postgres_server import PostgresServer
from .s3_server import SeaweedFS

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".demo"
DATABASE = "school"
BUCKET = "demo-backups"


def start() -> dict:
    """Remove what an earlier demonstration left, start both servers, fill the sample database."""
    began = time.monotonic()
    clean.clean(HOME)
    HOME.mkdir(mode=0o755)
    access_key, secret_key = "demo-" + secrets.token_hex(6), secrets.token_urlsafe(24)
    # the keys of this run, so that clean and stop need no more than the folder
    server = PostgresServer(HOME / "postgres")
    server.start()
    s3 = SeaweedFS(HOME / "s3", access_key, secret_key)
    s3.start()
    server.execute(f"CREATE DATABASE {DATABASE}")
    sample.load(server.dsn(DATABASE), seed=1)
    (HOME / "state").mkdir()
    variables = {
        "backup_become": False,
        "backup_config_file": str(HOME / "backup-config.env"),
        "backup_state_dir": str(HOME / "state"),
        "backup_log_file": str(HOME / "postgres-backup.log"),
        "backup_python": sys.executable,
        "backup_pg_bin_dir": str(server.bin_dir),
        "backup_server_name": "demo",
        "backup_db_host": server.host,
        "backup_db_port": server.port,
        "backup_db_name": DATABASE,
        "backup_databases": [DATABASE],
        "backup_db_user": server.superuser,
        "backup_db_password": server.password,
        "backup_db_container": "",
        "backup_s3_endpoint_url": s3.endpoint_url,
        "backup_s3_region": "us-east-1",
        "backup_s3_bucket": BUCKET,
        "backup_s3_prefix": "postgres-backup",
        "backup_s3_access_key": access_key,
        "backup_s3_secret_key": secret_key,
        "backup_s3_ca_bundle": "",
        "backup_s3_addressing_style": "path",
        "backup_age_recipients": [],
        "backup_format": "plain",
        "backup_compression": "gzip",
        "backup_restore_in_place": False,
        "backup_alert_urls": [],
        "backup_ping_url": "",
        "backup_drill_ping_url": "",
    }
    handle = os.open(HOME / "variables.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(variables, file)
    return {
        "postgresql": server.execute("SHOW server_version")[0][0].split()[0],
        "seconds": round(time.monotonic() - began, 1),
    }


def fingerprint() -> dict:
    """What is in the database, asked of PostgreSQL itself: rows and a sum over the contents of
    every table.
    """
    server = PostgresServer(HOME / "postgres")
    found = sample.fingerprint(server.dsn(DATABASE))
    # a dump holds the rows of tables; views that keep theirs are filled anew
    tables = {
        f"{schema}.{name}"
        for schema, name in server.execute("SELECT schemaname, tablename FROM pg_tables", DATABASE)
    }
    return {
        "tables": {name: list(facts) for name, facts in found.items()},
        "rows": sum(rows for name, (rows, _) in found.items() if name in tables),
    }


def destroy() -> dict:
    """A table dropped, another emptied, every balance overwritten."""
    sample.destroy(PostgresServer(HOME / "postgres").dsn(DATABASE))
    return {}


def stop() -> dict:
    """End both servers; the folder stays to be looked at."""
    clean.stop(HOME)
    return {}


if __name__ == "__main__":
    steps = {"start": start, "fingerprint": fingerprint, "destroy": destroy, "stop": stop}
    if len(sys.argv) != 2 or sys.argv[1] not in steps:
        sys.exit(f"python -m demo {'|'.join(steps)}")
    json.dump(steps[sys.argv[1]](), sys.stdout)
