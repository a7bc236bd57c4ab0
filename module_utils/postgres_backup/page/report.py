"""Write the page of what servers have answered, and say whether everything is all right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from ..clock import utc_now
from ..health import fleet
from . import page


class Answer(TypedDict):
    """What a server answered: ``facts``, as text, or else why it could not be asked."""

    name: str
    facts: str | None
    error: str | None


class ServerState(TypedDict):
    """What one server is: a key of ``verdict.STATES``, and why."""

    name: str
    state: str
    why: list[str]


class Report(TypedDict):
    """What was written, and what it says; ``states`` the worst first."""

    changed: bool
    file: str
    bytes: int
    verdict: str
    states: list[ServerState]


def write_report(
    answers: Sequence[Answer], template: str, dest: str, check: bool = False
) -> Report:
    """One HTML file of all servers.

    :param template: the file of the template.
    :param check: make the page and throw it away.
    :raises UsageError: the template cannot be read, or the file not be written.
    """
    servers = [page.parse(said["name"], said["facts"], said["error"]) for said in answers]
    text = page.render(servers, utc_now(), page.read(template)).encode(errors="replace")
    if not check:
        page.write(dest, text)
    verdicts = fleet.of_servers(servers)
    return {
        "changed": True,
        "file": dest,
        "bytes": len(text),
        "verdict": fleet.line(verdicts),
        "states": [
            {"name": v["name"], "state": v["state"], "why": [why["text"] for why in v["why"]]}
            for v in verdicts
        ],
    }


def lines(result: Report, check: bool = False) -> list[str]:
    """:func:`write_report` for a person."""
    return [result["verdict"], f"{'The page would be' if check else 'The page:'} {result['file']}"]
