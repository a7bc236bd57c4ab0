"""What is tried of a store: the rows of ``store-check``, what each means, and what to do about it.

Every row is read back: stores take headers and parameters and do not heed them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal, NamedTuple, TypedDict

from .canaries import Probing
from .errors import Refused

#: ``ignores``: it takes the request, and does not do it; ``warns``: it works, and you should know;
#: ``untried``: nobody could, or may, look
State = Literal["works", "lacks", "ignores", "warns", "untried"]


class Row(TypedDict):
    """One thing that a store does or does not.

    ``does``: what was tried. ``said``: what came of it, where that is worth a word. ``lost``: what
    of ours falls away without it, ``todo``: what to set, both empty where it works. ``unfit``:
    without it there are no backups on this store.
    """

    row: str
    does: str
    state: State
    said: str
    lost: str
    todo: str
    unfit: bool


class Outcome(NamedTuple):
    """What came of trying one.

    :param unfit: it is wrong in a way that no backup can live with; None: as the row says.
    """

    state: State
    said: str = ""
    unfit: bool | None = None


def refused(error: Refused, unfit: bool | None = None) -> Outcome:
    """What is said of a store that says no."""
    if error.status == 403 and error.code in ("AccessDenied", "403", ""):
        return Outcome("lacks", "it does not allow it to this key", unfit)
    code = f" {error.code}" if error.code and error.code != str(error.status) else ""
    return Outcome("lacks", f"it answers {error.status}{code}", unfit)


@dataclasses.dataclass(frozen=True)
class Kind:
    """What is said of a row where it does not work; ``needed``: then there is no backup."""

    does: str
    lost: str
    todo: str
    needed: bool = False


_OTHER = "Choose another store"
_NONE = "Nothing"
#: in the order in which they are told
KINDS = {
    "put": Kind(
        "write an object, write over it, read it back",
        "there are no backups",
        "Give the key the rights to write and to read under the prefix; else choose another store",
        needed=True,
    ),
    "multipart": Kind(
        "write an object in 2 parts, read it back",
        "there are no backups of more than 8 MB",
        _OTHER,
        needed=True,
    ),
    "list": Kind(
        "list objects, page by page",
        "`list`, `status`, `prune` and `restore latest` fail",
        "Give the key the right to list the bucket",
        needed=True,
    ),
    "head": Kind(
        "tell of one object (HEAD), and that another is not there",
        "nothing: objects are asked for with GET instead",
        _NONE,
    ),
    "range": Kind(
        "read a part of an object",
        "a download that breaks off begins anew, and `restore --tables` reads the whole backup",
        "Nothing; restores take longer",
    ),
    "delete": Kind(
        "delete an object",
        "nothing is pruned, and what a failed backup has written stays",
        "Give the key the right to delete; or prune from another machine",
    ),
    "delete_many": Kind(
        "delete many objects by one request", "nothing: they are deleted one by one", _NONE
    ),
    "copy": Kind("copy an object within the store", "nothing: none is copied", _NONE),
    "md5": Kind(
        "refuse what was damaged on its way (Content-MD5)",
        "damage on the way is found by `verify` and drills, not when it happens",
        "An https:// address; and verify: `backup_verify_per_night`",
    ),
    "checksum": Kind(
        "refuse what was damaged on its way (x-amz-checksum-sha256)",
        "nothing: Content-MD5 is sent instead",
        "For newer AWS CLIs `AWS_REQUEST_CHECKSUM_CALCULATION=when_required`, as in the config",
    ),
    "condition": Kind(
        "leave alone what is there already (If-None-Match)",
        "nothing: names are claimed in the journal",
        _NONE,
    ),
    "versions": Kind(
        "keep what is written over or deleted (versioning)",
        "whoever has a key can destroy backups for good",
        "Versioning in the provider's console, with a rule that ends old versions",
    ),
    "lock": Kind(
        "keep objects that nobody may delete (object lock)",
        "whoever has a key can destroy backups for good",
        "A new bucket with object lock in the provider's console, or a second store",
    ),
    "lifecycle": Kind(
        "tell its rules for old objects (lifecycle)",
        "the store may delete backups that the retention keeps",
        "Look at the bucket's rules in the provider's console",
    ),
    "unfinished": Kind(
        "list and abort unfinished uploads",
        "parts of backups that died stay, and are paid for",
        "A rule in the provider's console that aborts unfinished uploads after some days",
    ),
    "clock": Kind(
        "tell the same time as this machine",
        "nothing is pruned while the clocks differ",
        "`timedatectl set-ntp true`",
    ),
    "names": Kind(
        "keep blanks, per cent signs and letters beyond ASCII in keys",
        "databases with such names may not be found again",
        "Databases with plain names on this store",
    ),
    "link": Kind(
        "give out an object by a link, for a while",
        "the link of the published page",
        "Nothing; the page is read with a key",
    ),
    "public": Kind(
        "keep strangers out",
        "anybody can read your data",
        "Close the bucket to the public in the provider's console, then change every secret in it",
    ),
    "tls": Kind(
        "encrypt the way (https)",
        "whoever sits in between reads your data, and can change it",
        "An https:// address in `backup_s3_endpoint_url`",
    ),
}


def row_of(name: str, outcome: Outcome) -> Row:
    """A row as it is told."""
    kind = KINDS[name]
    failed = outcome.state in ("lacks", "ignores")
    unfit = kind.needed and failed if outcome.unfit is None else outcome.unfit
    fine = outcome.state in ("works", "untried")
    return {
        "row": name,
        "does": kind.does,
        "state": outcome.state,
        "said": outcome.said,
        "lost": "" if fine else kind.lost,
        "todo": "" if fine else kind.todo,
        "unfit": unfit,
    }


#: how a row is tried
Try = Callable[[Probing], Outcome]
