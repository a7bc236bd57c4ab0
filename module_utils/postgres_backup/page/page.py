"""The page of playbooks/report.yml: from what each server says of itself to one HTML file that
needs nothing else.

What is said of a server is judged here once, and its drawings are made; the words are in the
template.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import shlex
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, cast

import jinja2

from ..clock import parse_timestamp
from ..errors import UsageError
from ..health import fleet, verdict
from ..machine.files import replace_file
from ..text import human_age, human_bytes, human_seconds, printable
from . import chart

if TYPE_CHECKING:  # the page is made where there is no store to be asked
    from markupsafe import Markup

    from ..health.fleet import ServerAnswer, ServerVerdict
    from ..health.server_facts import (
        BackupFacts,
        DatabaseFacts,
        PastBackup,
        ServerFacts,
        TableFacts,
    )

#: what a day of the calendar can be, and how that is called
DAYS = {
    "good": "good",
    "unproven": "without a manifest",
    "gone": "good, deleted since",
    "failed": "failed or damaged",
    "none": "without a backup",
    "later": "before the first, or still to come",
}
#: servers of which all details are open
_FEW = 4


@dataclasses.dataclass(frozen=True)
class _Drawing:
    """A chart with the words around it.

    :param now: the newest value.
    :param begins: the first day.
    :param top: the value of its upper edge.
    :param change: how many rows of a table have come, or gone, since then.
    """

    title: str
    now: str
    begins: str
    top: str
    svg: Markup
    change: int = 0


@dataclasses.dataclass(frozen=True)
class _Group:
    """Backups that stay, or go, for one reason."""

    keep: bool
    reason: str
    backups: list[BackupFacts]

    @property
    def bytes(self) -> int:
        """Of all of them."""
        return sum(backup["bytes"] for backup in self.backups)


def render(servers: Sequence[ServerAnswer], now: datetime, template: str) -> str:
    """The page.

    :param now: UTC.
    :param template: the text of ``playbooks/templates/report.html.j2``.
    """
    verdicts = fleet.of_servers(servers)
    text = _compiled(template).render(
        servers=[_server(server, now) for server in verdicts],
        verdict=fleet.line(verdicts),
        kinds=[
            (kind, [server for server in verdicts if server["kind"] == kind])
            for kind in ("bad", "unknown", "warn", "good")
        ],
        kind=verdicts[0]["kind"] if verdicts else "unknown",
        days=DAYS,
        swatch=chart.swatch,
        now=now,
        few=len(verdicts) <= _FEW,
    )
    return re.sub(r"\n\s*", "\n", text)


@functools.lru_cache(maxsize=1)  # compiling takes longer than the page of a few servers
def _compiled(template: str) -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {
        "size": human_bytes,
        "age": human_age,
        "took": human_seconds,
        "name": printable,
        "when": verdict.when,
        "day": lambda text: verdict.day(parse_timestamp(text).date()),
        "money": lambda amount: "under 0.01" if 0 < amount < 0.005 else f"{amount:,.2f}",
        "number": lambda count: "?" if count is None else f"{count:,}",
        "until": jinja2.pass_context(lambda page, text: human_age(-_hours_since(page, text))),
        "ago": jinja2.pass_context(lambda page, text: human_age(_hours_since(page, text))),
    }
    return environment.from_string(template)


def _hours_since(page: jinja2.runtime.Context, text: str) -> float:
    """Hours from a moment to the one that the page is of; less than 0 where it is to come."""
    now: datetime = page["now"]
    return (now - parse_timestamp(text)).total_seconds() / 3600


def parse(name: str, facts: str | None, error: str | None) -> ServerAnswer:
    """A server for :func:`render`, from what it answered, as text; one whose answer cannot be read
    could not be asked.
    """
    if not facts:
        return {"name": name, "error": error or "it gave no answer"}
    try:
        answer: object = json.loads(facts)
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or "databases" not in answer:
        return {"name": name, "error": "its answer cannot be read"}
    return {"name": name, "facts": cast("ServerFacts", answer)}


def read(template: str) -> str:
    """The text of a template.

    :raises UsageError: it cannot be read.
    """
    try:
        with open(template, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"Failed to read the template {template}: {error}",
            "It is part of the checkout: git status",
        ) from None


def write(path: str, text: bytes) -> None:
    """Replace a file whole or not at all; only its owner may read it.

    :raises UsageError: it cannot be written.
    """
    try:
        replace_file(path, text, mode=0o600)
    except OSError as error:
        raise UsageError(
            f"Failed to write {path}: {error.strerror}", "Name another place: -e report_file=FILE"
        ) from None


def restore_line(server: str, database: str, several: bool, backup: str) -> str:
    """What to type for a restore, whatever the names hold."""
    if not several:
        chosen = ""
    elif re.fullmatch(r"[\w.-]+", database, re.ASCII):
        chosen = f" -e database={database}"
    else:
        chosen = " -e " + shlex.quote(json.dumps({"database": database}))
    return f"ansible-playbook restore.yml -e backup={backup}{chosen} --limit {shlex.quote(server)}"


def _server(server: ServerVerdict, now: datetime) -> dict[str, object]:
    """A server as the template takes it."""
    facts = server["facts"]
    if not facts:
        return {**server, "databases": [], "rehearsals": []}
    databases = [_database(server["name"], facts, database, now) for database in facts["databases"]]
    # a server that was set up by an earlier version says nothing of them
    return {**server, "databases": databases, "rehearsals": facts.get("rehearsals", [])}


def _database(
    server: str, facts: ServerFacts, database: DatabaseFacts, now: datetime
) -> dict[str, object]:
    """A database's facts with what the template shows of them: calendar, charts, groups of backups,
    the line to type.
    """
    days = _days(database, facts, now)
    name, last, backups = database["database"], database["last"], database["backups"]
    start = _window(
        min((day for day, state in days.items() if state != "later"), default=now.date()), now
    )
    made: list[PastBackup | BackupFacts] = [*database["past"], *backups]
    made = [
        backup
        for backup in sorted(made, key=lambda backup: backup["taken_at"])
        if start <= parse_timestamp(backup["taken_at"]).date() <= now.date()
    ]
    there = {backup["backup"] for backup in backups}
    sizes = [(backup, backup["bytes"]) for backup in made]
    durations = [(backup, backup["seconds"]) for backup in made]
    return {
        **database,
        "days": {state: [day for day, known in days.items() if known == state] for state in DAYS},
        "calendar": chart.calendar(days, f"{printable(name)}: {facts['days']} days"),
        "charts": [
            _bars("Size", human_bytes, sizes, there, start, now),
            _bars("Duration", human_seconds, durations, there, start, now),
        ],
        "tables": [_growth(table, backups, start, now) for table in database["tables"]],
        "to": verdict.day(now.date()),
        "groups": _groups(backups),
        "newest": next((backup for backup in backups if backup["backup"] == last), None),
        "restore": restore_line(server, name, len(facts["databases"]) > 1, last or "latest"),
        "label": verdict.STATES[database["state"]].label,
        "kind": verdict.STATES[database["state"]].kind,
    }


def _days(database: DatabaseFacts, facts: ServerFacts, now: datetime) -> dict[date, str]:
    """What each of the last days was. A good backup outweighs an earlier failure of the same day,
    and none that came after it.
    """
    marks = [(past["taken_at"], "gone") for past in database["past"]]
    marks += [
        (b["taken_at"], {"bad": "failed", "unproven": "unproven"}.get(b["state"], "good"))
        for b in database["backups"]
    ]
    mended = {at[:10]: at for at, state in sorted(marks) if state != "failed"}
    failures = [f["at"] for f in database["failures"] if f["what"] == "backup"]
    lasting = {at[:10] for at in failures if at > mended.get(at[:10], "")}
    marks += [(at, "failed") for at in failures]
    order, states = list(DAYS), dict[date, str]()
    for text, state in marks:
        day = parse_timestamp(text).date()
        states[day] = min(state, states.get(day, "later"), key=order.index)
    states |= {date.fromisoformat(day): "failed" for day in lasting}
    first, today = min(states, default=now.date() + timedelta(days=1)), now.date()
    due_today = now.strftime("%H:%M") > facts["schedule_time"]

    def without_a_mark(day: date) -> str:
        return "later" if day < first or (day == today and not due_today) else "none"

    shown = [today - timedelta(days=n) for n in range(facts["days"] - 1, -1, -1)]
    return {day: states.get(day) or without_a_mark(day) for day in shown}


def _bars(
    title: str,
    tell: Callable[[float], str],
    made: Sequence[tuple[PastBackup | BackupFacts, float | None]],
    there: set[str],
    start: date,
    now: datetime,
) -> _Drawing | None:
    """A bar for each backup of which the number is known; pale where it is gone."""
    points = [
        (parse_timestamp(backup["taken_at"]), value, backup["backup"] in there)
        for backup, value in made
        if value is not None
    ]
    if not points:
        return None
    values = [value for _, value, _ in points]
    top = chart.nice_top(max(values) * 1.12)  # the label of the top stands there
    scale = chart.Scale(start, now.date(), top)
    gone, kept = (
        [(at, value) for at, value, still in points if still is wanted] for wanted in (False, True)
    )
    words = (
        f"{title} of {len(points)} backups: from {tell(min(values))} to {tell(max(values))}, "
        f"the newest {tell(values[-1])}"
    )
    svg = scale.svg(words, scale.bars("old", gone), scale.bars("bar", kept))
    return _Drawing(title, tell(values[-1]), verdict.day(start), tell(top), svg)


def _window(first: date, now: datetime) -> date:
    """Where a chart begins that has something to show from ``first`` on: a week is the least that
    is shown.
    """
    return min(first, now.date() - timedelta(days=6))


def _growth(
    table: TableFacts, backups: Sequence[BackupFacts], start: date, now: datetime
) -> _Drawing:
    known = [
        (parse_timestamp(backup["taken_at"]), rows)
        for backup, rows in zip(backups, table["rows"], strict=True)
        if rows is not None
    ]
    points = sorted((at, rows) for at, rows in known if start <= at.date() <= now.date())
    start = _window(points[0][0].date() if points else start, now)
    first, last = points[0][1] if points else 0, points[-1][1] if points else 0
    # low charts; the label of the top stands there
    top = chart.nice_top(max((rows for _, rows in points), default=0) * 1.35)
    scale = chart.Scale(start, now.date(), top)
    words = f"Rows of {printable(table['table'])}: {first:,} at first, {last:,} now"
    svg = scale.svg(words, scale.line(points))
    return _Drawing(
        table["table"], f"{last:,}", verdict.day(start), f"{top:,.0f}", svg, last - first
    )


def _groups(backups: Sequence[BackupFacts]) -> list[_Group]:
    """Backups by the reason why they stay or go, in the order of the newest of each."""
    groups: dict[tuple[bool, str], list[BackupFacts]] = {}
    for backup in backups:
        groups.setdefault((backup["keep"], backup["reason"]), []).append(backup)
    return [_Group(keep, reason, members) for (keep, reason), members in groups.items()]
