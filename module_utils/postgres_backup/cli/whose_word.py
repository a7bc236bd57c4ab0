"""Whose word it is: this server's key, and what was there before it had one."""

from __future__ import annotations

from .command import CHECK, DATABASE, IDENTITY, Answer, Call, command
from .parser import Argument


@command(
    "adopt",
    "vouch for backups that nobody has signed (of older scripts, or of this server before it had a "
    "key), so that they are restored and the retention counts for them",
    DATABASE,
    CHECK,
    IDENTITY,
    Argument("--yes", action="store_true", help="these are to be believed; else they are listed"),
    Argument(
        "--server",
        default="",
        metavar="ID",
        help="take over what another server of the same name has taken until now: its system "
        "identifier, as `status` names it",
    ),
    Argument(
        "backups",
        nargs="*",
        metavar="FILE",
        help="only these, also where they have other tables than the live database",
    ),
    examples=["adopt", "adopt --yes"],
)
def _adopt(call: Call) -> Answer:
    from ..nightly import adopt

    asked = call.arguments
    result = adopt.adopt_backups(call.job, asked.backups, asked.server, asked.yes)
    return Answer(result, adopt.lines(result, call.check), 2 if result["offered"] else 0)


@command(
    "key",
    "say by which key this server signs, made where it is missing, and how others believe it",
    CHECK,
    Argument(
        "--rotate",
        action="store_true",
        help="a new one in its place; what the old one signed stays good",
    ),
    examples=["key", "key --rotate --check"],
)
def _key(call: Call) -> Answer:
    from ..signing import own_key

    result = own_key.own_key(call.settings, call.arguments.rotate, call.check)
    return Answer(result, own_key.lines(result, call.check))
