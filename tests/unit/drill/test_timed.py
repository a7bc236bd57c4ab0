"""How long each phase takes."""

from __future__ import annotations

from postgres_backup.drill.timed import Timed
from postgres_backup.machine.progress import Progress, Recorder


def test_phases_are_those_of_a_restore_and_repeated_ones_add_up():
    now = [0.0]
    heard = Recorder(Progress())
    timed = Timed(heard, lambda: now[0])
    for told, seconds in (
        ("looking around", 1),
        ("loading x into y", 2),
        ("loading x into y", 3),  # begun anew
        ("gathering statistics of y", 4),
        ("comparing y with the backup", 5),
        ("asking y 3 queries", 6),
    ):
        timed.phase(told)
        now[0] += seconds
    timed.end()
    timed.end()
    assert timed.seconds == {"load": 5, "statistics": 4, "compare": 5, "queries": 6}
    assert next(iter(heard.lines)) == "looking around"
