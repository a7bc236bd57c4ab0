"""docs/setup.md on a new server, word for word: its grants, the six commands afterwards, and the
removal that leaves nothing.
"""

from __future__ import annotations

import secrets

import pytest

from tests import documents
from tests.waiting import wait_for

DOCUMENT = "docs/setup.md"


def shown(heading: str, language: str) -> str:
    """What the first block of a section says."""
    return next(
        block.text
        for block in documents.blocks(DOCUMENT, documents.section(DOCUMENT, heading))
        if block.language == language
    )


def traces(server) -> list[str]:
    """Whatever on the server has the program's name."""
    places = "/etc /opt /usr/local /var/lib /var/log /var/spool /home"
    found = server.inside(
        "sh",
        "-c",
        f"find {places} -xdev -name '*postgres-backup*' -not -path '*/.ansible*';"
        " getent passwd | grep postgres-backup",
        check=False,
    )
    return found.stdout.splitlines()


@pytest.mark.timeout(1500)
def test_a_server_by_the_book_and_its_removal(new_server, controller, lab_s3):
    # its user is removed: nothing of it may wait for more to do
    server = new_server("trixie", layer="tools", name="db1", forks=False)
    before = traces(server)
    password = secrets.token_urlsafe(18)
    server.sql(f"CREATE ROLE crm LOGIN PASSWORD '{password}'")
    server.sql("CREATE DATABASE crm OWNER crm")
    server.sql(
        "SET ROLE crm; CREATE TABLE users AS SELECT n AS id FROM generate_series(1, 100) n", "crm"
    )
    server.sql(shown("2. The database user", "sql"))
    store = {
        "backup_s3_endpoint_url": lab_s3.endpoint_url,
        "backup_s3_access_key": lab_s3.access_key,
        "backup_s3_secret_key": lab_s3.secret_key,
    }
    controller.add(server, backup_db_name="crm", backup_db_user="crm", backup_db_password=password)
    controller.variables(**store, backup_s3_bucket=f"backups-{secrets.token_hex(4)}")
    said = " ".join(controller.run("setup.yml").output.split())
    assert "db1: all is well; next run" in said

    looked = server.inside("bash", "-ec", shown("7. What to check afterwards", "sh")).stdout
    assert "all is well" in looked
    assert "proven" in looked
    assert "* * * * postgres-backup /usr/local/bin/postgres-backup run --at 00:00" in looked
    assert looked.rstrip().endswith(".sql.gz")  # the stock tool's listing comes last

    controller.run("restore.yml", "-e", "backup=latest")
    # the wrapper of a background job ends a moment after its job; a user who is at work cannot be
    # removed
    wait_for(
        "the end of what runs as postgres-backup",
        lambda: not server.inside("pgrep", "-a", "-u", "postgres-backup", check=False).stdout,
        timeout=30,
    )
    server.inside("sh", "-ec", shown("Remove", "sh"))
    assert traces(server) == before
    assert (
        server.sql("SELECT count(*) FROM pg_database WHERE datname LIKE 'crm_before_%'") == "1"
    )  # the databases are PostgreSQL's
