"""How the last drill of every second ended, as PostgreSQL's user remembers it."""

from __future__ import annotations

from typing import Annotated, TypedDict

from ..machine import state
from ..shapes.kinds import Moment, Number, Text


class LastDrill(TypedDict):
    """:ivar running: it has not come to its end, or was broken off.
    :ivar target: the moment that it recovered to; empty where it did not come so far.
    :ivar said: what it has shown, or why it failed.
    """

    at: Annotated[str, Moment()]
    running: bool
    passed: bool
    seconds: Annotated[float, Number(0)]
    target: Annotated[str, Text(200)]
    said: Annotated[str, Text(1000)]


DRILL = state.Kept("drill.json", LastDrill)
