"""How work ended is told to all who should know: the journal, the numbers, the alarms."""

from __future__ import annotations

import pytest

from postgres_backup.catalog import history
from postgres_backup.clock import utc_now
from postgres_backup.errors import LockedError, StoreError, UsageError
from postgres_backup.health import alarms, outcome
from postgres_backup.machine import state
from postgres_backup.machine.counters import COUNTERS
from postgres_backup.s3.store import Store
from tests.integration import engine


@pytest.fixture
def settings(new_config, s3, bucket):
    """Of a database ``crm`` whose server is not there: what is told needs none."""
    return new_config(engine.NO_SERVER, s3, bucket).settings


def told(settings) -> list[dict]:
    return history.events(settings, Store(settings), utc_now().replace(year=2000))


def open_codes(settings) -> list[str]:
    return [alarm["code"] for alarm in alarms.open_alarms(settings)]


def test_a_failure_is_told_everywhere_and_the_next_success_ends_the_alarm(settings):
    with (
        pytest.raises(StoreError) as failed,
        outcome.noted(settings, "backup", "crm", {"backup": "x"}),
    ):
        raise StoreError(f"refused with {settings.s3_secret_key}")
    assert failed.value.findings == []
    (event,) = told(settings)
    assert (event["event"], event["database"], event["backup"], event["kind"]) == (
        "backup-failed",
        "crm",
        "x",
        "store",
    )
    assert event["reason"] == "refused with ********"
    assert state.read(settings, COUNTERS)["failures"] == {"crm": {"store": 1}}
    assert open_codes(settings) == ["BACKUP_FAILED"]

    with outcome.noted(settings, "backup", "crm", ends=False):
        pass
    assert open_codes(settings) == ["BACKUP_FAILED"], "that was not its last step"
    with outcome.noted(settings, "backup", "crm"):
        pass
    assert open_codes(settings) == []


@pytest.mark.parametrize(
    ("error", "more"),
    [
        (UsageError("no such database"), {}),
        (LockedError("another run"), {}),
        (StoreError("refused"), {"check": True}),
    ],
)
def test_an_answer_to_whoever_asked_is_no_failure(settings, error, more):
    with pytest.raises(type(error)), outcome.noted(settings, "prune", "crm", **more):
        raise error
    assert (told(settings), open_codes(settings)) == ([], [])


def test_a_part_that_fails_is_noted_and_wakes_nobody(settings):
    with pytest.raises(StoreError), outcome.noted(settings, "backup", "crm", alarm=False):
        raise StoreError("refused")
    assert [event["event"] for event in told(settings)] == ["backup-failed"]
    assert open_codes(settings) == []


def test_a_mistake_of_the_program_is_told_as_a_sentence(settings):
    with pytest.raises(ZeroDivisionError), outcome.noted(settings, "kit", ""):
        _ = 1 / 0
    assert told(settings)[0]["reason"].startswith("Failed unexpectedly: ZeroDivisionError at ")
    assert open_codes(settings) == ["KIT_FAILED"]


def test_a_restore_is_noted_with_the_facts_that_are_named(settings):
    result = {"backup": "x", "database": "crm", "downtime_seconds": 0.2, "sessions": 3}
    assert outcome.restored(settings, result, "backup", "database") == []
    (event,) = told(settings)
    assert (event["event"], event["backup"], "sessions" in event) == ("restore", "x", False)
    last = state.read(settings, outcome.LAST_RESTORES)["crm"]
    assert (last["backup"], last["downtime_seconds"]) == ("x", 0.2)
