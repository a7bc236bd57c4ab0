"""How things are, for whoever asks: nothing is changed but what a test leaves behind."""

from __future__ import annotations

import sys

from .command import CHECK, DATABASE, FROM, Answer, Call, command
from .parser import Argument, days


@command(
    "list",
    "list the backups in the bucket, newest first",
    DATABASE,
    Argument("--partial", action="store_true", help="the parts of backups instead"),
    FROM,
    bucket_only=True,
    examples=["list", "list --partial", "list --from copy"],
)
def _list(call: Call) -> Answer:
    from ..health import listing
    from ..machine.progress import columns

    asked = call.arguments
    result = listing.look(call.settings, asked.database, partial=asked.partial)
    return Answer(result, listing.lines(result, columns(sys.stdout)))


@command(
    "status",
    "say whether the newest backup is fresh, what is kept and when the next one runs",
    examples=["status", "status --json"],
)
def _status(call: Call) -> Answer:
    from ..health import status

    result = status.status(call.settings, counting=True)
    return Answer(result, status.lines(result), 0 if result["healthy"] else 4)


@command(
    "history",
    "say what happened: backups, failures, restores and prunes, newest first",
    DATABASE,
    Argument("--days", type=days, default=7, metavar="N", help="how far back (default: 7)"),
    bucket_only=True,
    examples=["history", "history --days 30"],
)
def _history(call: Call) -> Answer:
    from ..catalog import history

    result = history.history(call.settings, call.arguments.days, call.arguments.database)
    return Answer(result, history.lines(result))


@command(
    "store-check",
    "say what the store can do, by trying it on canaries under store-check/; status 4 where it is "
    "not fit for backups",
    CHECK,
    FROM,
    bucket_only=True,
    examples=["store-check", "store-check --json"],
)
def _store_check(call: Call) -> Answer:
    from ..health import store_check

    result = store_check.check_store(call.settings, call.progress, check=call.check)
    return Answer(result, store_check.lines(result), 4 if result["fit"] is False else 0)


@command(
    "alert-test",
    "send a test to everybody who is told of trouble",
    CHECK,
    Argument(
        "--only-new", action="store_true", help="only to addresses that no test has reached yet"
    ),
    examples=["alert-test", "alert-test --only-new"],
)
def _alert_test(call: Call) -> Answer:
    from ..health import alarms

    result = alarms.send_test(call.settings, call.arguments.only_new, call.check)
    return Answer(result, alarms.lines(result))
