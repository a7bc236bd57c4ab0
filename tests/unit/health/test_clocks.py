"""What is said of clocks that are wrong."""

from __future__ import annotations

from datetime import timedelta

import pytest

from postgres_backup.errors import StoreError
from postgres_backup.findings import finding
from postgres_backup.health import clocks, verdict
from postgres_backup.health.alarm_kinds import key
from tests.unit.health.test_verdict import NOW, backup


class StoreWith:
    """A store as far as its clock goes."""

    def __init__(self, ahead: float | Exception | None) -> None:
        self.clock_seen = ahead

    def clock_difference(self) -> float:
        if isinstance(self.clock_seen, Exception):
            raise self.clock_seen
        return self.clock_seen


@pytest.mark.parametrize(("ahead", "told"), [(None, []), (-800.0, []), (-1000.0, ["CLOCK_OFF"])])
def test_a_clock_that_is_wrong_is_a_finding_and_nothing_is_healthy(ahead, told):
    found = clocks.findings_of(StoreWith(ahead))
    assert [one["code"] for one in found] == told
    assert verdict.is_healthy(found) is (not told)


def test_the_watch_looks_for_the_alarm_where_it_can_be_known():
    assert clocks.look(StoreWith(5.0)) == ([key("CLOCK_OFF")], [])
    names, [alarm] = clocks.look(StoreWith(7200.0))
    assert names == [alarm.key] == [key("CLOCK_OFF")]
    assert "120 minutes ahead" in alarm.message
    assert clocks.look(StoreWith(StoreError("it tells no time"))) == ([], [])
    skewed = StoreError("too skewed", "set it", [finding("CLOCK_DIFFERS", "x")])
    assert [a.message for a in clocks.look(StoreWith(skewed))[1]] == ["too skewed"]


def from_the_future(written_hours_ago: float, days: int = 30):
    at = NOW - timedelta(hours=written_hours_ago)
    return backup(-24 * days, modified=at)


def test_what_is_dated_ahead_is_grave_until_a_newer_good_one_is_rightly_named():
    ahead = from_the_future(5)
    [found] = clocks.from_the_future("crm", [ahead, backup(26)])
    assert str(ahead.name) in found["message"]
    assert not verdict.is_healthy([found])
    assert verdict.alarms_of("crm", [found])["BACKUP_FROM_THE_FUTURE"].message == found["message"]
    [found] = clocks.from_the_future("crm", [backup(1), ahead])
    assert verdict.is_healthy([found])
    assert verdict.alarms_of("crm", [found])["BACKUP_FROM_THE_FUTURE"] is None
    assert clocks.from_the_future("crm", [backup(1), backup(2, modified=NOW)]) == []


def test_a_crowd_of_them_is_told_in_few_words():
    found = clocks.from_the_future("crm", [from_the_future(5, days) for days in range(1, 9)])
    assert len(found) == 4
    assert found[-1]["message"] == "and 5 more backups of crm are named so"
