"""What cron calls: a night, and the hourly look."""

from __future__ import annotations

import argparse

from .command import LOG_FILE, Answer, Call, command
from .parser import Argument

#: of a run that is not due
NOT_DUE = Answer({"changed": False, "due": False})


@command(
    "watch",
    "what cron calls every hour: look whether all is well, tell who should know, "
    "make up for a run that did not happen",
    LOG_FILE,
    in_the_background=True,
    examples=["watch"],
)
def _watch(call: Call) -> Answer:
    from ..machine import signals
    from ..nightly import watch

    signals.heed()
    result = watch.look_around(call.settings, call.progress)
    return Answer(result, watch.lines(result), 0 if result["healthy"] else 4)


@command(
    "run",
    "what cron calls at night: back up every database, then prune",
    Argument(
        "--at",
        default="",
        metavar="HH:MM",
        help="do nothing unless it is this time of day in UTC, or up to 15 minutes later, "
        "and today's run is still to be done, or it failed and is to be tried again by now",
    ),
    LOG_FILE,
    in_the_background=True,
    examples=["run", "run --at 02:30 --log-file /var/log/postgres-backup.log"],
)
def _run(call: Call) -> Answer:
    from ..machine import signals

    signals.defer()  # a night that was begun tells how it ended
    if call.arguments.at:
        from ..machine.schedule import begin

        if not begin(call.settings, call.arguments.at):
            return NOT_DUE
    from ..nightly.run import run_night

    result = run_night(call.settings, call.progress, bool(call.arguments.at))
    if result is None:
        return NOT_DUE
    return Answer(result, exit_status=result["exit_status"])


def worth_beginning(arguments: argparse.Namespace) -> bool:
    """Whether there may be something to do: from what was typed alone, or from what is remembered
    of a night that failed; before anything else is loaded.
    """
    if arguments.command != "run" or not arguments.at:
        return True
    from ..machine import config_file, schedule

    config = getattr(arguments, "config", config_file.DEFAULT_CONFIG)
    return schedule.is_due(arguments.at) or schedule.may_be_due(arguments.at, config)
