"""The time now, and the two ways in which times are written."""

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postgres_backup import clock

times = st.datetimes(
    min_value=datetime(2000, 1, 1), max_value=datetime(2099, 1, 1), timezones=st.just(timezone.utc)
).map(lambda at: at.replace(microsecond=0))


@given(times)
def test_what_is_written_reads_back(at):
    assert clock.parse_time(clock.format_time(at)) == at
    assert clock.parse_timestamp(clock.format_timestamp(at)) == at


def test_times_are_written_in_utc():
    almaty = datetime(2026, 1, 27, 5, 0, 0, tzinfo=timezone(timedelta(hours=5)))
    assert clock.format_time(almaty) == "2026-01-27_00-00-00"
    assert clock.format_timestamp(almaty) == "2026-01-27T00:00:00Z"


@pytest.mark.parametrize("parse", [clock.parse_time, clock.parse_timestamp])
@pytest.mark.parametrize("text", ["", "2026-02-30_00-00-00", "2026-02-30T00:00:00Z", "2026-01-27"])
def test_what_is_no_time_is_refused(parse, text):
    with pytest.raises(ValueError, match=r"time data|out of range"):
        parse(text)


def test_now_has_no_fraction_of_a_second():
    now = clock.utc_now()
    assert (now.microsecond, now.utcoffset()) == (0, timedelta(0))
    assert abs(datetime.now(timezone.utc) - now) < timedelta(seconds=5)
