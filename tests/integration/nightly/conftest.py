"""A server whose nights are played through."""

from __future__ import annotations

import pytest

from postgres_backup.s3 import client as s3_room
from tests.integration.nightly.nights import Server


@pytest.fixture
def crm(new_database, new_config, s3, bucket, web, monkeypatch) -> Server:
    database = new_database("crm")
    database.execute(
        "CREATE TABLE orders AS SELECT generate_series(1, 3000) AS id, repeat('x', 400) AS note"
    )
    rights = {"DB_USER": database.server.superuser, "DB_PASSWORD": database.server.password}
    config = new_config(
        database, s3, bucket, ALERT_URLS=f"json://127.0.0.1:{web.port}/told", **rights
    )
    made = Server(config, web, monkeypatch)
    made.database = database
    made.at(0, 0)
    return made


@pytest.fixture
def at_once(monkeypatch):
    """No call to the store is repeated: hours pass by the moved clock alone."""
    monkeypatch.setattr(s3_room, "is_transient", lambda error: False)
