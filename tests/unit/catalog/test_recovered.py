"""Where backups of a recovered cluster lie, and how they are taken."""

from __future__ import annotations

import dataclasses

import pytest

from postgres_backup.catalog import recovered
from postgres_backup.settings import Settings

SETTINGS = Settings(
    server_name="db1",
    s3_endpoint_url="https://s3.example.org",
    s3_bucket="backups",
    s3_access_key="AKID",
    s3_secret_key="hunter2-hunter2",
    db_host="db1",
    db_user="crm",
    databases=("crm",),
    alert_urls=("json://x",),
    db_password="secret",
    state_dir="/var/lib/x",
)


@pytest.mark.parametrize(
    ("prefix", "lies"), [("postgres-backup", "postgres-backup-recovered"), ("", "recovered")]
)
def test_they_lie_apart(prefix, lies):
    settings = dataclasses.replace(SETTINGS, s3_prefix=prefix)
    assert recovered.place(settings).s3_prefix == lies


def test_they_are_taken_over_a_socket_and_nobody_is_told():
    taken = recovered.source(SETTINGS, "/run/x", 5500)
    assert (taken.db_host, taken.db_port, taken.db_password) == ("/run/x", 5500, "")
    assert (taken.alert_urls, taken.state_dir) == ((), "/var/lib/x/recovered")
    assert taken.databases == ("crm",)
