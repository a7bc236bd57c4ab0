"""How long the property tests look: shortly in every run, long by ``make fuzz``."""

from __future__ import annotations

from hypothesis import settings

#: examples of a property that says no number; those that say one are multiplied alike
SHORT, LONG = 100, 2000


def load() -> None:
    """Make both profiles known, and take the short one where ``--hypothesis-profile`` names none.

    No deadline for a single example: on a busy machine that would measure the machine.
    """
    # the same examples in every run: who meets a red test has changed something
    settings.register_profile("short", max_examples=SHORT, deadline=None, derandomize=True)
    settings.register_profile("long", max_examples=LONG, deadline=None)
    settings.load_profile("short")


def examples(number: int) -> int:
    """``number`` in every run, and twenty times as many by ``make fuzz``."""
    return number * settings().max_examples // SHORT
