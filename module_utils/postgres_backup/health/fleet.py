"""Servers beside each other: the worst first, and all of it in one line. Pure.

What each of them is, ``verdict`` has said on the server itself.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

from ..text import printable
from .verdict import STATES, Kind, Reason, ServerState

if TYPE_CHECKING:  # the page is made where there is no store to be asked
    from .server_facts import ServerFacts


class _Named(TypedDict):
    name: str


class ServerAnswer(_Named, total=False):
    """A server, as the inventory calls it, and what it said of itself (see
    ``server_facts.describe``) or why it could not be asked.
    """

    facts: ServerFacts
    error: str


class ServerVerdict(TypedDict):
    """What a server is; ``limit`` is its name for ``--limit``, as a shell takes it."""

    name: str
    limit: str
    facts: ServerFacts | None
    state: ServerState
    kind: Kind
    label: str
    why: list[Reason]


def of_servers(servers: Sequence[ServerAnswer]) -> list[ServerVerdict]:
    """What each server is, the worst first."""
    order = list(STATES)
    return sorted(map(_of_server, servers), key=lambda s: (order.index(s["state"]), s["name"]))


def _of_server(server: ServerAnswer) -> ServerVerdict:
    facts = server.get("facts")
    state: ServerState = facts["state"] if facts else "unasked"
    error = printable(server.get("error") or "it gave no answer")
    return {
        "name": server["name"],
        "limit": shlex.quote(server["name"]),
        "facts": facts,
        "state": state,
        "kind": STATES[state].kind,
        "label": STATES[state].label,
        "why": facts["why"] if facts else [{"text": error, "alarm": None, "todo": ""}],
    }


def line(servers: Sequence[ServerVerdict]) -> str:
    """Is everything all right? In one line.

    :param servers: the worst first.
    """
    if not servers:
        return "There is no server in the inventory"
    wrong = [server for server in servers if server["kind"] in ("bad", "unknown")]
    if wrong:
        if len(servers) == 1:
            return f"{printable(wrong[0]['name'])} needs you: {wrong[0]['label'].lower()}"
        names = ", ".join(f"{printable(s['name'])} ({s['label'].lower()})" for s in wrong[:3])
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        need = "needs" if len(wrong) == 1 else "need"
        return f"{len(wrong)} of {len(servers)} servers {need} you: {names}{more}"
    look = sum(server["kind"] == "warn" for server in servers)
    if look:
        some = f"{look} of {len(servers)} servers"
        some = some if len(servers) > 1 else printable(servers[0]["name"])
        return f"The backups are fresh; {some} {'is' if look == 1 else 'are'} worth a look"
    return "All is well: every database has a fresh, good backup"
