"""The page of playbooks/report.yml: from what each server says of itself to one HTML file that
needs nothing else.

What is said of a server is judged here once, and its drawings are made; the words are in the
template.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

import jinja2

from ..clock import parse_timestamp
from ..errors import UsageError
from ..health import verdict
from ..machine.files import replace_file
from ..text import human_age, human_bytes, human_seconds, printable
from . import chart

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


def render(servers: Sequence[Mapping], now: datetime, template: str) -> str:
    """The page.

    :param servers: each ``name`` (as the inventory has it) and either ``facts`` (what
        ``report.facts`` says) or ``error`` (why it could not be asked).
    :param now: UTC.
    :param template: the text of ``playbooks/templates/report.html.j2``.
    """
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
        "until": lambda text: human_age((parse_timestamp(text) - now).total_seconds() / 3600),
        "ago": lambda text: human_age((now - parse_timestamp(text)).total_seconds() / 3600),
    }
    seen = verdict.of_servers(servers)
    found = environment.from_string(template).render(
        servers=[
            one
            | {
                "databases": [
                    _database(one, d, now) for d in (one["facts"] or {}).get("databases", [])
                ]
            }
            for one in seen
        ],
        verdict=verdict.line(seen),
        kinds=[
            (kind, [one for one in seen if one["kind"] == kind])
            for kind in ("bad", "unknown", "warn", "good")
        ],
        kind=seen[0]["kind"] if seen else "unknown",
        days=DAYS,
        swatch=chart.swatch,
        now=now,
        few=len(seen) <= _FEW,
    )
    return re.sub(r"\n\s*", "\n", found)


def parse(name: str, facts: str | None, error: str | None) -> dict:
    """A server for :func:`render`, from what it answered, as text; one whose answer cannot be read
    could not be asked.
    """
    if not facts:
        return {"name": name, "error": error or "it gave no answer"}
    try:
        found = json.loads(facts)
    except ValueError:
        found = None
    if not isinstance(found, dict) or "databases" not in found:
        return {"name": name, "error": "its answer cannot be read"}
    return {"name": name, "facts": found}


def read(template: str) -> str:
    """The text of a template.

    :raises UsageError: it cannot be read.
    """
    try:
        with open(template, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Failed to read the template {template}: {error}") from None


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


def _database(server: Mapping, one: Mapping, now: datetime) -> dict:
    """A database's facts with what the template shows of them: calendar, charts, groups of backups,
    the line to type.
    """
    facts = server["facts"]
    days = _days(one, facts, now)
    made = sorted([*one["past"], *one["backups"]], key=lambda backup: backup["taken_at"])
    start = _window(
        min((day for day, state in days.items() if state != "later"), default=now.date()), now
    )
    made = [
        backup
        for backup in made
        if start <= parse_timestamp(backup["taken_at"]).date() <= now.date()
    ]
    several = len(facts["databases"]) > 1
    there = {backup["backup"] for backup in one["backups"]}
    return one | {
        "days": {state: [day for day, known in days.items() if known == state] for state in DAYS},
        "calendar": chart.calendar(days, f"{printable(one['database'])}: {facts['days']} days"),
        "charts": [
            _bars("Size", "bytes", human_bytes, made, there, start, now),
            _bars("Duration", "seconds", human_seconds, made, there, start, now),
        ],
        "tables": [_growth(table, one["backups"], start, now) for table in one["tables"]],
        "to": verdict.day(now.date()),
        "groups": _groups(one["backups"]),
        "newest": next(
            (backup for backup in one["backups"] if backup["backup"] == one["last"]), None
        ),
        "restore": restore_line(server["name"], one["database"], several, one["last"] or "latest"),
        "label": verdict.STATES[one["state"]][1],
        "kind": verdict.STATES[one["state"]][0],
    }


def _days(one: Mapping, facts: Mapping, now: datetime) -> dict[date, str]:
    """What each of the last days was. A good backup outweighs a failure of the same day."""
    found: dict[date, str] = {}
    marks = [(f["at"], "failed") for f in one["failures"] if f["what"] == "backup"]
    marks += [(b["taken_at"], "gone") for b in one["past"]]
    marks += [
        (b["taken_at"], {"bad": "failed", "unproven": "unproven"}.get(b["state"], "good"))
        for b in one["backups"]
    ]
    order = list(DAYS)
    for text, state in marks:
        day = parse_timestamp(text).date()
        found[day] = min(state, found.get(day, "later"), key=order.index)
    first, today = min(found, default=now.date() + timedelta(days=1)), now.date()
    due_today = now.strftime("%H:%M") > facts["schedule_time"]
    shown = [today - timedelta(days=n) for n in range(facts["days"] - 1, -1, -1)]
    return {
        day: found.get(day, "later" if day < first or (day == today and not due_today) else "none")
        for day in shown
    }


def _bars(
    title: str,
    field: str,
    tell,
    made: Sequence[Mapping],
    there: set[str],
    start: date,
    now: datetime,
) -> dict | None:
    points = [
        (parse_timestamp(backup["taken_at"]), backup[field], backup["backup"] in there)
        for backup in made
        if backup[field] is not None
    ]
    if not points:
        return None
    values = [value for _, value, _ in points]
    top = chart.nice_top(max(values) * 1.12)  # the label of the top stands there
    scale = chart.Scale(start, now.date(), top)
    gone, kept = (
        [(at, value) for at, value, still in points if still is wanted] for wanted in (False, True)
    )
    words = f"{title} of {len(points)} backups: from {tell(min(values))} to {tell(max(values))}, the newest {tell(values[-1])}"
    svg = scale.svg(words, scale.bars("old", gone), scale.bars("bar", kept))
    return {
        "title": title,
        "from": verdict.day(start),
        "now": tell(values[-1]),
        "top": tell(top),
        "svg": svg,
    }


def _window(first: date, now: datetime) -> date:
    """Where a chart begins that has something to show from ``first`` on: a week is the least that
    is shown.
    """
    return min(first, now.date() - timedelta(days=6))


def _growth(table: Mapping, backups: Sequence[Mapping], start: date, now: datetime) -> dict:
    points = [
        (parse_timestamp(b["taken_at"]), rows)
        for b, rows in zip(backups, table["rows"], strict=True)
        if rows is not None
    ]
    points = sorted((at, rows) for at, rows in points if start <= at.date() <= now.date())
    start = _window(points[0][0].date() if points else start, now)
    first, last = points[0][1] if points else 0, points[-1][1] if points else 0
    top = chart.nice_top(
        max((rows for _, rows in points), default=0) * 1.35
    )  # low charts; the label of the top stands there
    scale = chart.Scale(start, now.date(), top)
    words = f"Rows of {printable(table['table'])}: {first:,} at first, {last:,} now"
    about = {"title": table["table"], "now": f"{last:,}", "change": last - first}
    return about | {
        "from": verdict.day(start),
        "top": f"{top:,.0f}",
        "svg": scale.svg(words, scale.line(points)),
    }


def _groups(backups: Sequence[Mapping]) -> list[dict]:
    """Backups by the reason why they stay or go, in the order of the newest of each: ``reason keep
    backups bytes``.
    """
    groups: dict[tuple, list[Mapping]] = {}
    for backup in backups:
        groups.setdefault((backup["keep"], backup["reason"]), []).append(backup)
    return [
        {
            "keep": keep,
            "reason": reason,
            "backups": members,
            "bytes": sum(b["bytes"] for b in members),
        }
        for (keep, reason), members in groups.items()
    ]
