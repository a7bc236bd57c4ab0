"""One data directory for another: all of it, or nothing. That PostgreSQL runs with it then is shown
by tests/servers/test_pitr.py.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from postgres_backup.errors import UsageError
from postgres_backup.pitr import at_rest, promote
from postgres_backup.pitr.cluster import Cluster
from postgres_backup.settings import Settings


@pytest.fixture
def place(tmp_path: Path, monkeypatch) -> tuple[Settings, Path, Path]:
    """Settings, the data directory of a cluster that is down, and one that was recovered."""
    live, other = tmp_path / "main", tmp_path / "main_recovered_2026-01-27_14-03-00"
    for folder, text in ((live, "live"), (other, "recovered")):
        folder.mkdir()
        (folder / "PG_VERSION").write_text(text)
    names = {field.name: "" for field in dataclasses.fields(Cluster)}
    config = "/etc/postgresql/17/main/postgresql.conf"
    cluster = Cluster(**{**names, "data_directory": str(live), "config_file": config})
    monkeypatch.setattr(at_rest, "ask", lambda _: (cluster, False))
    settings = Settings(
        server_name="db1",
        s3_endpoint_url="https://s3.example.org",
        s3_bucket="backups",
        s3_access_key="AKID",
        s3_secret_key="hunter2-hunter2",
        db_user="postgres",
        databases=("postgres",),
        state_dir=str(tmp_path / "state"),
    )
    return settings, live, other


def test_the_one_takes_the_others_place_and_back(place):
    settings, live, other = place
    kept = f"{live}_before_2026-01-27_15-00-00"
    promote.exchange(settings, str(other), kept, "2026-01-27T14:03:00Z")
    assert (live / "PG_VERSION").read_text() == "recovered"
    assert Path(kept, "PG_VERSION").read_text() == "live"
    assert not other.exists()
    back = promote.settle(settings, kept, check=False)
    assert back["incoming"] == kept
    promote.exchange(settings, kept, back["kept"], back["as_of"])
    assert (live / "PG_VERSION").read_text() == "live"
    assert Path(back["kept"], "PG_VERSION").read_text() == "recovered"


def test_what_cannot_come_leaves_all_as_it_was(place, monkeypatch):
    settings, live, other = place
    for kept in (str(live.parent), "/etc", f"{live}_before_2026-01-27_99-00-00", f"{live}/../x"):
        with pytest.raises(UsageError, match="no data directory that a promotion has kept"):
            promote.settle(settings, kept, check=False)
    with pytest.raises(UsageError, match="it is no cluster"):
        promote.exchange(settings, f"{live}_nothing", f"{live}_before_1", "x")
    with pytest.raises(UsageError, match="is taken"):
        promote.exchange(settings, str(other), str(other), "x")
    rename = os.rename

    def broken(one: str, two: str) -> None:
        if one == str(other):
            raise OSError(5, "Input/output error")
        rename(one, two)

    monkeypatch.setattr(os, "rename", broken)
    with pytest.raises(OSError, match="Input/output"):
        promote.exchange(settings, str(other), f"{live}_before_1", "x")
    assert (live / "PG_VERSION").read_text() == "live"
    cluster, _ = at_rest.ask(settings)
    monkeypatch.setattr(at_rest, "ask", lambda _: (cluster, True))
    with pytest.raises(UsageError, match="PostgreSQL runs"):
        promote.exchange(settings, str(other), f"{live}_before_1", "x")
