"""What cron calls where every second is kept."""

from __future__ import annotations

from .command import LOG_FILE, Answer, Call, command
from .parser import Argument


@command(
    "pitr-backup",
    "what cron calls each day where every second is kept: back up the cluster, in full once a week",
    Argument("--full", action="store_true", help="in full, however old the last full one is"),
    LOG_FILE,
    in_the_background=True,
    examples=["pitr-backup --config /etc/postgres-backup-pitr/config.env"],
)
def _pitr_backup(call: Call) -> Answer:
    from ..machine import signals
    from ..pitr import take

    signals.heed()
    result = take.take(call.settings, call.progress, call.arguments.full)
    told = take.lines(result)
    for line in told:
        call.progress.step(line)
    return Answer(result, told)


@command(
    "pitr-drill",
    "what cron calls each month where every second is kept: write two rows, recover beside the "
    "live cluster to between them, and see that the first is there and the second is not",
    LOG_FILE,
    in_the_background=True,
    examples=["pitr-drill --config /etc/postgres-backup-pitr/config.env"],
)
def _pitr_drill(call: Call) -> Answer:
    from ..machine import signals
    from ..pitr import drill

    signals.heed()
    result = drill.drill(call.settings, call.progress)
    told = drill.lines(result)
    for line in told:
        call.progress.step(line)
    return Answer(result, told, 0 if result["passed"] else 4)


@command(
    "pitr-look",
    "what cron calls every two minutes where every second is kept: see that all that is written "
    "is archived, as PostgreSQL's user, and leave it to be read",
    in_the_background=True,
    examples=["pitr-look --config /etc/postgres-backup-pitr/config.env"],
)
def _pitr_look(call: Call) -> Answer:
    from ..pitr import drill, look

    try:
        drill.tidy(call.settings)  # of one that was broken off, as where the power went
    finally:  # what stays of it is told, and is no reason not to look
        seen, lost = look.look(call.settings)
    return Answer({**seen, "changed": False, "findings": lost}, look.lines(seen))


@command(
    "pitr-watch",
    "what cron calls behind it: tell who should know where not every second is kept",
    LOG_FILE,
    in_the_background=True,
    examples=["pitr-watch"],
)
def _pitr_watch(call: Call) -> Answer:
    from ..health import archiving, archiving_drills, archiving_metrics

    found, seen = archiving.settle(call.settings), archiving.known(call.settings)
    found += archiving_metrics.renew(call.settings, seen)
    found += archiving_drills.note(call.settings, seen)
    told = [f"{one['code']}: {one['message']}" for one in found]
    for line in told:
        call.progress.step(call.settings.hide(f"watch: {line}"))
    wrong = any(one["code"] in archiving.CODES for one in found)
    return Answer({"changed": False, "healthy": not wrong, "findings": found}, told, 4 * wrong)
