"""The journal in the bucket: events are noted, and names are claimed."""

from __future__ import annotations

import dataclasses
import json
import threading
from datetime import timedelta

import pytest

from postgres_backup.catalog import history, journal
from postgres_backup.catalog.names import Layout
from postgres_backup.clock import format_time, format_timestamp, utc_now
from postgres_backup.s3.store import Store
from tests.integration import engine
from tests.services.proxy import FaultProxy

LAYOUT = Layout("postgres-backup")


@pytest.fixture
def config(new_config, s3, bucket):
    return new_config(engine.NO_SERVER, s3, bucket, SERVER_NAME="db 1/Ж")


def test_an_event_is_one_small_object_and_its_signature(config, s3_client, bucket):
    at = utc_now()
    facts = {"database": "crm", "rows": 5}
    assert journal.record(Store(config.settings), LAYOUT, at, "restore", facts) == []
    key, signature = sorted(engine.keys(s3_client, bucket))
    assert signature == f"{key}.sig"
    assert key == f"postgres-backup/journal/{format_time(at)}-000001-restore.db%201%2F%D0%96.json"
    event = json.loads(s3_client.get_object(Bucket=bucket, Key=key)["Body"].read())
    assert event == {
        "at": format_timestamp(at),
        "event": "restore",
        "server": "db 1/Ж",
        "number": 1,
        "begins": 1,
        "database": "crm",
        "rows": 5,
    }


def test_a_note_that_the_store_refuses_is_a_finding(config):
    settings = config.change(AWS_SECRET_ACCESS_KEY="not-the-secret")
    (found,) = journal.record(Store(settings, patience=1.0), LAYOUT, utc_now(), "restore", {})
    assert found["code"] == "JOURNAL_NOT_WRITTEN"


def test_of_all_who_begin_in_one_second_each_has_one_of_its_own(config, monkeypatch):
    """As crons do at midnight: the clock stands still for two seconds at a time."""
    real = utc_now
    monkeypatch.setattr(journal, "utc_now", lambda: real() - timedelta(seconds=real().second % 2))
    claimed = []

    def begin(number: int) -> None:
        settings = dataclasses.replace(config.settings, server_name=f"db{number}")
        claimed.append(
            journal.claim(Store(settings), LAYOUT, journal.BEGAN, {}, claimed.__contains__)
        )

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(claimed)) == len(claimed) == 3


def test_a_name_that_is_there_is_not_claimed_again(config):
    asked = []

    def taken(at) -> bool:
        asked.append(at)
        return len(asked) == 1

    at = journal.claim(Store(config.settings), LAYOUT, journal.KIT_BEGAN, {}, taken)
    assert asked == [asked[0], at]
    assert at > asked[0]


def test_the_same_store_by_another_address_and_back_numbers_on(config, s3, s3_client, bucket):
    with FaultProxy(s3.endpoint_url) as other:
        for address in (s3.endpoint_url, other.endpoint_url, s3.endpoint_url):
            store = Store(config.change(S3_ENDPOINT_URL=address))
            assert journal.record(store, LAYOUT, utc_now(), "restore", {}) == []
    numbers = [
        int(key.split("-")[-2]) for key in engine.keys(s3_client, bucket) if "sig" not in key
    ]
    assert sorted(numbers) == [1, 2, 3]
    since = utc_now() - timedelta(hours=1)
    assert history.happened(config.settings, store, since)["findings"] == []


def test_events_that_nobody_has_signed_are_said_to_be_unchecked(config, s3_client, bucket):
    """A server without a key signs nothing: what is missing does not show."""
    store, since = Store(config.settings), utc_now() - timedelta(hours=1)
    journal.record(store, LAYOUT, utc_now(), "restore", {"database": "crm"})
    told = history.history(config.settings)
    assert "Nobody has signed" not in "\n".join(history.lines(told))
    for key in engine.keys(s3_client, bucket):
        if key.endswith(".sig"):
            s3_client.delete_object(Bucket=bucket, Key=key)
    told = history.history(config.settings)
    assert history.happened(config.settings, store, since)["events"][0]["signature"] == "unsigned"
    assert "nobody can tell whether some were altered or are missing" in history.lines(told)[-1]
