"""Drawings of the page: a calendar and charts as inline SVG, small enough that hundreds of servers
fit into one file. Pure.

A calendar is one path for each state and not a rectangle for each day: a dashed line down a column
draws the days of a week.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

from markupsafe import Markup, escape

from ..health import verdict

#: distance of two days in a calendar, and the size of the mark of each state (the style sheet has
#: colours; shapes tell them apart without)
STEP = 14
MARKS = {"good": 11, "unproven": 11, "gone": 5, "failed": 11, "none": 11, "later": 2}
#: size of a chart's own coordinates; a day is four units wide
HEIGHT, DAY = 100, 4
_LEFT, _TOP = 26, 13


def calendar(days: Mapping[date, str], title: str) -> Markup:
    """A column for each week, Monday first.

    :param days: state (a key of :data:`MARKS`) of consecutive days.
    """
    first, last = min(days), max(days)
    monday = first - timedelta(days=first.weekday())
    weeks = (last - monday).days // 7 + 1
    width, height = _LEFT + weeks * STEP, _TOP + 7 * STEP
    shapes = [
        f'<path class={state} d="{_columns(days, state, monday, size)}"/>'
        for state, size in MARKS.items()
        if state in days.values()
    ]
    crosses = "".join(_cross(day, monday) for day, state in days.items() if state == "failed")
    if crosses:
        shapes.append(f'<path class=cross d="{crosses}"/>')
    names = "".join(
        f"<text x=0 y={_TOP + row * STEP + 10}>{name}</text>"
        for row, name in ((0, "Mon"), (3, "Thu"), (6, "Sun"))
    )
    months = "".join(
        f"<text x={_LEFT + column * STEP} y=9>{text}</text>"
        for column, text in _months(monday, weeks, first)
    )
    head = f"<svg class=cal role=img viewBox='0 0 {width} {height}'><title>{escape(title)}</title>"
    return Markup(head + names + months + "".join(shapes) + "</svg>")


def swatch(state: str) -> Markup:
    """The mark of a state, for the legend; 14 by 14."""
    size = MARKS[state]
    cross = '<path class=cross d="M4 4l6 6m0-6l-6 6"/>' if state == "failed" else ""
    return Markup(f'<path class={state} d="M7 {(STEP - size) / 2:g}v{size}"/>{cross}')


def _columns(days: Mapping[date, str], state: str, monday: date, size: int) -> str:
    """One stroke for each run of days of a state in a column; the style sheet cuts them up."""
    parts = []
    for (column, known), days_of_run in itertools.groupby(
        days.items(), lambda pair: ((pair[0] - monday).days // 7, pair[1])
    ):
        run = [day for day, _ in days_of_run]
        if known == state:
            x, y = (
                _LEFT + column * STEP + STEP // 2,
                _TOP + run[0].weekday() * STEP + (STEP - size) / 2,
            )
            parts.append(f"M{x} {y:g}v{(len(run) - 1) * STEP + size}")
    return "".join(parts)


def _cross(day: date, monday: date) -> str:
    column, row = divmod((day - monday).days, 7)
    return f"M{_LEFT + column * STEP + 4} {_TOP + row * STEP + 4}l6 6m0-6l-6 6"


def _months(monday: date, weeks: int, first: date) -> list[tuple[int, str]]:
    """Names of months over the column in which each begins; that of the first column where it has
    room.
    """
    starts = [(column, monday + timedelta(days=7 * column + 6)) for column in range(weeks)]
    named = [(column, sunday) for column, sunday in starts if column == 0 or sunday.day <= 7]
    if len(named) > 1 and named[1][0] < 2:
        named = named[1:]
    return [
        (column, verdict.MONTHS[max(sunday, first).month - 1])
        for column, sunday in named
        if column < weeks - 1
    ]


class Scale:
    """From times and values to the coordinates of a chart.

    :param start: the first day shown, ``end`` the last.
    :param top: the largest value.
    """

    def __init__(self, start: date, end: date, top: float) -> None:
        self.start, self.top = datetime(start.year, start.month, start.day), top or 1.0
        self.width = ((end - start).days + 1) * DAY

    def x(self, at: datetime) -> int:
        """The middle of its day."""
        return (at.replace(tzinfo=None) - self.start).days * DAY + DAY // 2

    def y(self, value: float) -> int:
        return round(value / self.top * HEIGHT)

    def svg(self, title: str, *shapes: str) -> Markup:
        box = f"viewBox='0 0 {self.width} {HEIGHT}'"
        head = f"<svg role=img preserveAspectRatio=none {box}><title>{escape(title)}</title>"
        return Markup(head + "".join(shapes) + "</svg>")

    def bars(self, kind: str, points: Sequence[tuple[datetime, float]]) -> str:
        """One bar for each point, in the middle of its day; ``points`` the oldest first."""
        parts = []
        before = None
        for at, value in points:
            x, y = self.x(at), max(self.y(value), 1)
            begin = f"m{x - before[0]} {before[1]}" if before else f"M{x} {HEIGHT}"
            parts.append(f"{begin}v-{y}")
            before = (x, y)
        return f'<path class={kind} d="{"".join(parts)}"/>' if parts else ""

    def line(self, points: Sequence[tuple[datetime, float]]) -> str:
        """A line through the points, the oldest first; pieces that go straight on are one."""
        path: list[list[int]] = []
        for at, value in points:
            here = [self.x(at), HEIGHT - self.y(value)]
            if len(path) > 1 and _straight(path[-2], path[-1], here):
                path[-1] = here
            elif not path or path[-1] != here:
                path.append(here)
        if not path:
            return ""
        steps = "".join(f"l{b[0] - a[0]} {b[1] - a[1]}" for a, b in itertools.pairwise(path))
        if not steps:
            return f'<path class="line dot" d="M{path[0][0]} {path[0][1]}h0"/>'
        return f'<path class=line d="M{path[0][0]} {path[0][1]}{steps.replace(" -", "-")}"/>'


def _straight(a: Sequence[int], b: Sequence[int], c: Sequence[int]) -> bool:
    return (b[0] - a[0]) * (c[1] - b[1]) == (c[0] - b[0]) * (b[1] - a[1]) and b[0] != c[0]


def nice_top(largest: float) -> float:
    """A round number not below ``largest``: 1, 1.5, 2, 3, 5 or 7.5 times a power of ten."""
    if largest <= 0:
        return 1.0
    power = (
        10.0 ** (len(str(int(largest))) - 1)
        if largest >= 1
        else 10.0 ** -next(n for n in range(1, 12) if largest * 10**n >= 1)
    )
    return next(power * step for step in (1, 1.5, 2, 3, 5, 7.5, 10) if power * step >= largest)
