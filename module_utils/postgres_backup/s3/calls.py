"""Everything that is ever asked of the store, declared once: what for, by which request of S3, and
what follows where the store does not do it. Pure.

``S3.call`` takes nothing else, so that no call can be written whose failure nobody has thought of;
the table in docs/reference.md is made of this.
"""

from __future__ import annotations

import dataclasses
import enum


class Part(enum.Enum):
    """What a call is to a backup (or a kit)."""

    #: it is the backup: without it there is none
    BACKUP = "the backup"
    #: it is done beside it: a store that does not do it costs a finding, never the backup
    HOUSEKEEPING = "housekeeping"
    #: somebody asked for it, and hears of it
    ASKED = "an answer"


@dataclasses.dataclass(frozen=True)
class Call:
    """One use of the store.

    :param purpose: what for.
    :param requests: the operations of S3 that it may take.
    :param refused: what follows where the store does not do it.
    :param finding: the code of the finding; housekeeping always has one.
    """

    purpose: str
    requests: tuple[str, ...]
    part: Part
    refused: str
    finding: str = ""
    #: a small object that is read again once it is written: nothing else would show that it is not
    #: there
    read_back: bool = False


def _backup(purpose: str, *requests: str) -> Call:
    return Call(purpose, requests, Part.BACKUP, "there is no backup")


def _beside(purpose: str, request: str, code: str, refused: str) -> Call:
    return Call(purpose, (request,), Part.HOUSEKEEPING, refused, code)


def _asked(purpose: str, *requests: str, refused: str = "the command fails and says why") -> Call:
    return Call(purpose, requests, Part.ASKED, refused)


_LATER = "they stay, and the next backup tries again"
_AGAIN = "the name is looked for once more before the object is made visible"

REACH = Call(
    "see that the bucket is there",
    ("ListObjectsV2",),
    Part.BACKUP,
    "there is no backup; but a key that may only not list takes one",
    "LISTING_REFUSED",
)
BEGIN = _backup("begin an object in parts", "CreateMultipartUpload")
SEND = _backup("send a part", "UploadPart")
COMPLETE = _backup("make the object of its parts", "CompleteMultipartUpload")
PUT = _backup("write an object of one part", "PutObject")
SEE = Call(
    "see the object that was written, and its size",
    ("HeadObject", "GetObject"),
    Part.BACKUP,
    "where only HEAD is refused, GET is asked; else there is no backup",
    "HEAD_REFUSED",
)
DISCARD = _backup("delete an object that came out with another size", "DeleteObject")
DESCRIBE = dataclasses.replace(
    _backup("write the manifest, and read it again", "PutObject", "GetObject"), read_back=True
)

FIND_OLD = _beside(
    "look for parts that earlier runs left",
    "ListMultipartUploads",
    "UPLOADS_NOT_SWEPT",
    "they stay, and the next backup tries again; 404, 405 and 501 mean that there are none",
)
TELL_TIME = _beside(
    "ask for the store's time, to tell their age", "ListObjectsV2", "UPLOADS_NOT_SWEPT", _LATER
)
SWEEP = _beside("remove such parts", "AbortMultipartUpload", "UPLOADS_NOT_SWEPT", _LATER)
CLAIM = _beside("note that a name is being taken", "PutObject", "NAME_NOT_CLAIMED", _AGAIN)
RIVALS = _beside("see who else takes it", "ListObjectsV2", "NAME_NOT_CLAIMED", _AGAIN)
IS_TAKEN = Call(
    "see whether a name is free, also just before an object is made visible",
    ("HeadObject", "GetObject", "ListObjectsV2"),
    Part.HOUSEKEEPING,
    "the name is used",
    "NAME_NOT_CLAIMED",
)
ROLES = Call(
    "save the server's roles, and read them again",
    ("PutObject", "GetObject"),
    Part.HOUSEKEEPING,
    "the backup is without them",
    "GLOBALS_NOT_SAVED",
    read_back=True,
)
SIGN = Call(
    "write a signature, and read it again",
    ("PutObject", "GetObject"),
    Part.HOUSEKEEPING,
    "what it is of is unsigned",
    "NOT_SIGNED",
    read_back=True,
)
UNSIGN = _beside(
    "remove the signature of what lay there before",
    "DeleteObject",
    "NOT_SIGNED",
    "what is written is unsigned",
)
NOTE = _beside(
    "write an event into the journal",
    "PutObject",
    "JOURNAL_NOT_WRITTEN",
    "the bucket does not tell of it",
)
GIVE_UP = _beside(
    "remove the parts of a backup that failed",
    "AbortMultipartUpload",
    "UPLOAD_NOT_ABORTED",
    "the next backup does it",
)
FIND_OWN = _beside(
    "look for the parts of one whose beginning was not answered",
    "ListMultipartUploads",
    "UPLOAD_NOT_ABORTED",
    "the next backup does it",
)
TAKE_BACK = _beside(
    "delete what a failed backup has written",
    "DeleteObject",
    "LEFT_BEHIND",
    "it stays and is named; the next backup deletes it",
)
_NEXT = "it stays, and the next backup tries again"
SEE_LEFT = Call(
    "see what a run that was killed has left",
    ("HeadObject", "GetObject", "ListMultipartUploads"),
    Part.HOUSEKEEPING,
    _NEXT,
    "LEFT_BEHIND",
)
SWEEP_LEFT = Call(
    "remove it",
    ("DeleteObject", "AbortMultipartUpload"),
    Part.HOUSEKEEPING,
    _NEXT,
    "LEFT_BEHIND",
)
COUNT_LEFT = Call(
    "count kits without a manifest and unfinished uploads, for `status`",
    ("ListObjectsV2", "ListMultipartUploads", "ListParts"),
    Part.HOUSEKEEPING,
    "`status` does not count them",
    "LEFTOVERS",
)
OTHER_KITS = _beside(
    "look at the kits that are there",
    "ListObjectsV2",
    "KITS_NOT_SEEN",
    "the new one is compared with none, and no old one is deleted",
)
PRUNE_KITS = _beside(
    "delete kits that are past their time", "DeleteObject", "KITS_NOT_PRUNED", "they stay"
)
_STAYS = "it stays, and the next rehearsal tries again"
SEE_REHEARSED = _beside(
    "see what the rehearsal of a rebuild has written", "ListObjectsV2", "REHEARSAL_LEFT", _STAYS
)
REMOVE_REHEARSED = _beside("remove it", "DeleteObject", "REHEARSAL_LEFT", _STAYS)

_LOOK_BACK = "the command fails and says why; at the end of a backup: `TREND_NOT_KNOWN`"
LIST = _asked("list backups, manifests, events", "ListObjectsV2", refused=_LOOK_BACK)
READ = _asked("read an object", "GetObject", refused=_LOOK_BACK)
LOOK = _asked("look at an object", "HeadObject", "GetObject")
DELETE = _asked("prune, adopt, forget", "DeleteObject", "DeleteObjects")
CLOCK = _asked(
    "compare the clocks, before a prune and at each watch",
    "ListObjectsV2",
    refused="nothing is pruned",
)
PROOF = dataclasses.replace(
    _asked("write a proof, or what a person says of a backup", "PutObject", "GetObject"),
    read_back=True,
)
COPY = dataclasses.replace(
    _asked(
        "write into the second store what describes a backup, and read it again",
        "PutObject",
        "GetObject",
        refused="that backup is not copied, and the next night tries again",
    ),
    read_back=True,
)
REMOVE_COPY = _asked(
    "delete in the second store what its retention no longer keeps, or what came out wrong there",
    "DeleteObject",
    "DeleteObjects",
    refused="it stays, and the next night tries again",
)
DUPLICATE = _asked(
    "`move`: copy an object into the server's own folder, and look at it",
    "CopyObject",
    "CreateMultipartUpload",
    "UploadPartCopy",
    "CompleteMultipartUpload",
    "AbortMultipartUpload",
    "HeadObject",
    "GetObject",
    refused="nothing is moved; what lies there stays where it is, and is used there",
)
PAGE = _asked("publish the page", "PutObject")
_SETUP = "setup fails and says why; what the store does not know, or not allow, is a finding"
CREATE = _asked("create the bucket", "CreateBucket", refused=_SETUP)
ASK_PRIVATE = _asked("see that it is private", "GetPublicAccessBlock", refused=_SETUP)
MAKE_PRIVATE = _asked(
    "make it private, or take that back",
    "PutPublicAccessBlock",
    "DeletePublicAccessBlock",
    refused=_SETUP,
)
AS_STRANGER = _asked(
    "try without a key, as a stranger would", "ListObjectsV2", "HeadObject", refused=_SETUP
)
ASK_EXPIRY = _asked(
    "see that unfinished uploads expire", "GetBucketLifecycleConfiguration", refused=_SETUP
)
MAKE_EXPIRE = _asked(
    "let unfinished uploads expire, or take that back",
    "PutBucketLifecycleConfiguration",
    "DeleteBucketLifecycle",
    refused=_SETUP,
)
CANARY = _asked(
    "write, read and delete a canary beside each setting of the bucket",
    "PutObject",
    "GetObject",
    "DeleteObject",
    refused="the setting is taken back",
)
PROBE = _asked(
    "`store-check`: try on canaries what the store can do",
    "PutObject",
    "GetObject",
    "HeadObject",
    "CreateMultipartUpload",
    "UploadPart",
    "CompleteMultipartUpload",
    "ListMultipartUploads",
    "AbortMultipartUpload",
    "ListObjectsV2",
    "ListObjectVersions",
    "DeleteObject",
    "DeleteObjects",
    "CopyObject",
    "GetBucketVersioning",
    "GetObjectLockConfiguration",
    "GetBucketLifecycleConfiguration",
    refused="a row of its table says so",
)

#: name -> call, of all
CALLS = {name: call for name, call in list(globals().items()) if isinstance(call, Call)}
