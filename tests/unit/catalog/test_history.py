"""Of a journal that many servers share each reads its own events."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta

from postgres_backup.catalog import gaps, history
from postgres_backup.catalog.names import Layout
from postgres_backup.clock import format_timestamp
from tests import hostile
from tests.unit.listed import Listed
from tests.unit.signed_bucket import NOW

LAYOUT = Layout("postgres-backup")
NAMES = [f"db{number}" for number in range(29)] + ["school-db"]


def journal(days: int) -> dict[str, bytes]:
    """A backup a day of each server; the older half without numbers, as earlier versions."""
    objects = {}
    for server in NAMES:
        for ago in range(days):
            at, number = NOW - timedelta(days=ago), days - ago if ago < days // 2 else 0
            key = LAYOUT.journal(at, gaps.event_name("backup", server, number))
            event = {"at": format_timestamp(at), "event": "backup", "server": server}
            counted = {"number": number, "begins": 1} if number else {}
            objects[key] = json.dumps(event | counted).encode()
            objects[f"{key}.sig"] = b"-"
    return objects


def test_a_server_reads_its_own_events(tmp_path):
    settings = dataclasses.replace(hostile.SETTINGS, state_dir=str(tmp_path))
    store = Listed({key: data for key, data in journal(90).items() if key.endswith(".json")})
    told = history.events(settings, store, NOW - timedelta(days=30))  # type: ignore[arg-type]
    assert [event["server"] for event in told] == ["school-db"] * 31
    assert len(store.read) == 31, "of 2,700"
    assert len(history.events(settings, store, NOW - timedelta(days=90))) == 90  # type: ignore[arg-type]
    looked_at = history.happened(settings, store, NOW - timedelta(days=1))  # type: ignore[arg-type]
    assert len(store.read) == 31 + 90 + 2, "where all is looked at too"
    assert len(looked_at["events"]) == 2


def test_a_name_of_another_is_no_way_into_our_events(tmp_path):
    """An event that says to be ours under the name of another server, and the other way round."""
    settings = dataclasses.replace(hostile.SETTINGS, state_dir=str(tmp_path))
    ours = LAYOUT.journal(NOW, gaps.event_name("backup", "school-db", 3))
    theirs = LAYOUT.journal(NOW, gaps.event_name("backup", "db1", 3))
    event = {"at": format_timestamp(NOW), "event": "backup", "number": 3}
    objects = {
        ours: json.dumps(event | {"server": "db1"}).encode(),
        theirs: json.dumps(event | {"server": "school-db"}).encode(),
    }
    assert history.events(settings, Listed(objects), NOW - timedelta(days=1)) == []  # type: ignore[arg-type]
