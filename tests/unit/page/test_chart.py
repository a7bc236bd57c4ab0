"""The drawings of the page."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from postgres_backup.page import chart


@given(
    st.dates(date(2000, 1, 1), date(2100, 1, 1)),
    st.lists(st.sampled_from(sorted(chart.MARKS)), min_size=1, max_size=120),
)
def test_a_calendar_draws_each_day_once(first, states):
    days = {first + timedelta(days=n): state for n, state in enumerate(states)}
    drawn = {}
    for kind, path in re.findall(r'<path class=(\w+) d="([^"]*)"', chart.calendar(days, "x")):
        if kind == "cross":
            continue
        for x, y, length in re.findall(r"M(\d+) ([\d.]+)v(\d+)", path):
            for n in range((int(length) - chart.MARKS[kind]) // chart.STEP + 1):
                place = (
                    int(x) // chart.STEP,
                    round((float(y) - (chart.STEP - chart.MARKS[kind]) / 2 - 13) / chart.STEP) + n,
                )
                assert place not in drawn
                drawn[place] = kind
    monday = first - timedelta(days=first.weekday())
    wanted = {
        ((26 + (day - monday).days // 7 * 14 + 7) // 14, day.weekday()): state
        for day, state in days.items()
    }
    assert drawn == wanted


@given(st.floats(1e-6, 1e15))
def test_the_top_of_a_chart_is_round_and_not_far_above(largest):
    top = chart.nice_top(largest)
    assert largest <= top * (1 + 1e-9)
    assert top <= largest * 2.01


def test_a_line_that_goes_straight_on_is_one_piece():
    scale = chart.Scale(date(2026, 1, 1), date(2026, 1, 30), 100)
    points = [(datetime(2026, 1, day, tzinfo=timezone.utc), 50) for day in range(1, 31)]
    assert scale.line(points) == '<path class=line d="M2 50l116 0"/>'
    assert "h0" in scale.line(points[:1])
    assert scale.line([]) == ""
