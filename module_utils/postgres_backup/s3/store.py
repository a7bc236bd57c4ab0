"""The object storage, as the rest of the package knows it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ..errors import BadBackupError, PostgresBackupError, StoreError
from ..findings import Finding, finding
from ..settings import Settings
from . import bucket, calls, clock_skew
from .calls import Call
from .client import (
    NOT_THIS_WAY,
    PATIENCE,
    QUICK,
    S3,
    StoredObject,
    content_md5,
    is_md5,
    md5,
    stored_object,
)
from .download import Download, Packed
from .errors import CallFailed, NotAsS3, NotS3, OddAnswer, Refused
from .seen import Seen, Told
from .unfinished import abort, bytes_of, sweep, unfinished
from .upload import Upload

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import (
        DeleteTypeDef,
        ListObjectsV2OutputTypeDef,
        ListObjectsV2RequestTypeDef,
    )

#: seconds for which a store is asked again when all that is left to do is to clean up, or to note
#: that something failed
HASTY = 5.0
#: bytes of an object that is read into memory at once
SMALL = 64 * 1024 * 1024
#: small objects that are asked for at the same time
_AT_ONCE = 8
#: and their bytes, as the listing tells them
_BYTES_AT_ONCE = 8 * 1024 * 1024

#: objects that one request deletes at most
_AT_A_TIME = 1000
#: pages of a listing in a row on which there is nothing that was not on one before
_MOST_EMPTY_PAGES = 20
#: looks at an object that was just written, each a little later
_LOOKS = 5
#: readings of a small object, while its bytes are not those that its ETag is of
_READINGS = 3
#: objects that a listing goes through at most
MOST_OBJECTS = 1_000_000

T = TypeVar("T")


class TooLarge(StoreError):
    """An object holds more than such a one may."""


#: one object cannot be read, which says nothing of the store or of the others
Unreadable = (Refused, TooLarge, BadBackupError, NotAsS3, Packed)


class Store:
    """One bucket of an S3-compatible store. May be used by several threads.

    :param settings: endpoint, region, bucket, key, addressing style, CA bundle, most parts.
    :param patience: seconds for which a call to a silent or failing store is repeated before it
        counts as failed.
    :raises UsageError: the CA bundle cannot be read.

    Every method raises :class:`StoreError` when the store cannot be reached, and :class:`Refused`,
    a kind of it, when it says no. A call that is not named (:mod:`calls`) is an answer to whoever
    asks.
    """

    def __init__(self, settings: Settings, patience: float = PATIENCE) -> None:
        self.settings = settings
        self.s3 = S3(settings, patience)
        self._etags_are_md5 = True
        self._known = Seen(settings)
        self._deletes_many = True
        #: what is read now is kept for the next look, also where nothing is yet
        self.keeps = False

    def looks(self) -> None:
        """Whoever asks looks at all of it, and will look again."""
        self.keeps = True

    @property
    def refused(self) -> list[Finding]:
        """What housekeeping the store has not done so far; see ``errors.may_fail``."""
        return self.s3.refused

    def take_refused(self) -> list[Finding]:
        """:attr:`refused`, which is empty then."""
        told = [one for number, one in enumerate(self.refused) if one not in self.refused[:number]]
        self.refused.clear()
        return told

    def check(self, may_list: bool = True) -> None:
        """Endpoint, key, bucket and region are right: asks for one page of the prefix, and gives up
        soon.

        :param may_list: False: a key that may only not list is right too, and that is among
            :attr:`refused`. One that may nothing is found out by the first write.
        """
        try:
            bucket.probe(self.s3)
        except Refused as error:
            if may_list or (error.status, error.code) != (403, "AccessDenied"):
                raise
            self.refused.append(finding(calls.REACH.finding, error.message))

    def list(
        self,
        prefix: str,
        delimiter: str = "",
        after: str = "",
        most: int = MOST_OBJECTS,
        call: Call = calls.LIST,
        folders: set[str] | None = None,
    ) -> Iterator[StoredObject]:
        """Objects whose keys begin with ``prefix``, in the order of their keys, page by page.

        :param delimiter: ``/`` leaves out what lies under sub-prefixes.
        :param after: only keys that come after this one, where the store heeds it; so whoever needs
            that looks again.
        :param most: no program of ours makes more; somebody else fills the bucket.
        :param folders: gets the sub-prefixes that a delimiter leaves out, as the store names them.
        :raises StoreError: there are more than ``most``.
        """
        page: ListObjectsV2RequestTypeDef = {"Bucket": self.s3.bucket, "Prefix": prefix}
        if delimiter:
            page["Delimiter"] = delimiter
        if after:
            page["StartAfter"] = after
        seen: set[str] = set()
        tokens: set[str] = set()
        nothing_new = 0
        while True:
            shown = self._page(page, call, seen, tokens)
            found, more, token = shown.objects, shown.more, shown.token
            if folders is not None:
                folders.update(shown.folders)
            new = [item for item in found if item.key not in seen and item.key.startswith(prefix)]
            if delimiter:
                new = [item for item in new if delimiter not in item.key[len(prefix) :]]
            seen.update(item.key for item in new)
            if len(seen) > most:
                raise CallFailed(
                    call,
                    f"Failed to list {prefix}: there are more than {most:,} objects, "
                    "far more than backups make",
                    "Look who else writes there, and remove what is none of ours; "
                    "or begin anew under another prefix (backup_s3_prefix)",
                )
            self._known.tell(new)
            # a store that names one twice, or in no order, is heard all the same
            yield from sorted({item.key: item for item in new}.values(), key=lambda item: item.key)
            if not more:
                return
            nothing_new = 0 if new else nothing_new + 1
            if not token or token in tokens or nothing_new > _MOST_EMPTY_PAGES:
                raise CallFailed(
                    call,
                    f"Failed to list {prefix}: the store says that there is more, and not where",
                    "Ask the provider",
                )
            tokens.add(token)
            page["ContinuationToken"] = token

    def _page(
        self,
        page: ListObjectsV2RequestTypeDef,
        call: Call,
        seen: Collection[str],
        tokens: set[str],
    ) -> _Page:
        """One page of a listing. Where the store knows its own token no more, it is taken up after
        the last key that was seen.
        """
        doing = f"list {page.get('Prefix', '')}"
        try:
            return self.s3.call(call, doing, lambda client: _read(client.list_objects_v2(**page)))
        except Refused as error:
            if error.status != 400 or not seen or not page.pop("ContinuationToken", ""):
                raise
        page["StartAfter"] = max(seen)
        tokens.clear()
        return self.s3.call(call, doing, lambda client: _read(client.list_objects_v2(**page)))

    def head(self, key: str, call: Call = calls.LOOK) -> StoredObject | None:
        """What the store tells of one object; None when there is none."""
        return self.s3.head(call, key)

    def get(self, key: str, limit: int = SMALL) -> bytes | None:
        """A small object; None when there is none.

        :raises TooLarge: it holds more than ``limit`` bytes.
        """
        before: bytes | None = None
        for _ in range(_READINGS):
            found = self._get(key, limit)
            if found is None:
                return None
            data, etag = found
            if not self._etags_are_md5 or not is_md5(etag) or md5(data).hex() == etag:
                return data
            # damaged on the way, unless the store means something else by it
            if data == before:
                self._etags_are_md5 = False
                return data
            before = data
        return data

    def _get(self, key: str, limit: int) -> tuple[bytes, str] | None:
        """The bytes of a small object, and its ETag."""
        pieces = []
        with Download(self.s3, key) as download:
            try:
                for piece in download:
                    size = max(download.total or 0, download.bytes)
                    if size > limit:
                        raise TooLarge(
                            f"Failed to read {key}: it holds {size} bytes, "
                            f"more than the {limit} that such an object may have",
                            "",
                        )
                    pieces.append(piece)
            except Refused as error:
                if error.code in ("NoSuchKey", "404"):
                    return None
                raise
            return b"".join(pieces), download.etag

    def get_many(
        self,
        keys: Iterable[str],
        parse: Callable[[str, bytes | PostgresBackupError | None], T],
        limit: int = SMALL,
        afresh: bool = False,
        kept: Callable[[T], bool] = lambda _: True,
    ) -> Sequence[T]:
        """Many small objects, several at a time: what ``parse`` makes of each key and its bytes (of
        None where there is no such object, of the error where that one alone cannot be read), in
        the order of the keys.

        What a listing of this store has shown, and what was read before, is not asked for again
        (:mod:`.seen`); ``parse`` gets its bytes all the same.

        :param limit: bytes that each of them may hold.
        :param afresh: ask for all of them: what they hold is to be proven.
        :param kept: of what ``parse`` has made: its bytes are to be kept for the next look.
        """
        wanted = list(keys)
        before = () if afresh else self._known.known(wanted)
        answers = {key: parse(key, data) for key, data in before if len(data) <= limit}

        def one(key: str) -> T:
            try:
                data: bytes | PostgresBackupError | None = self.get(key, limit)
            except Unreadable as error:
                if isinstance(error, Refused) and error.status >= 500:
                    raise  # that is the store, and not this object
                data = error
            made = parse(key, data)
            if isinstance(data, bytes) and kept(made):
                self._known.note(key, data)
            return made

        asked = [key for key in dict.fromkeys(wanted) if key not in answers]
        if len(asked) == 1:  # as is often so, and a thread for one costs half of what it asks
            answers[asked[0]] = one(asked[0])
        elif asked:
            with ThreadPoolExecutor(self._at_once(asked)) as pool:
                answers.update(zip(asked, pool.map(one, asked), strict=True))
        if asked:
            self._known.keep(make=self.keeps)
        return [answers[key] for key in wanted]

    def _at_once(self, keys: Sequence[str]) -> int:
        """How many of them are asked for at the same time: each lies in memory meanwhile."""
        largest = max((told.bytes for key in keys if (told := self.told(key))), default=0)
        return min(_AT_ONCE, _BYTES_AT_ONCE // largest or 1) if largest else _AT_ONCE

    def told(self, key: str) -> Told | None:
        """What a listing of this store has told of an object; None where it has told no MD5, or the
        object was written or deleted since.
        """
        return self._known.told(key)

    def put(
        self, call: Call, key: str, data: bytes, content_type: str = "application/octet-stream"
    ) -> None:
        """Write a small object, replacing one of that name, and (where :class:`Call` says so) read
        it again: a gateway may take what it does not keep.

        :raises CallFailed: the store gives back something else.
        """
        self._known.forget(key)
        digest = content_md5(md5(data))
        self.s3.call(
            call,
            f"write {key}",
            lambda client: client.put_object(
                Bucket=self.s3.bucket,
                Key=key,
                Body=data,
                ContentMD5=digest,
                ContentType=content_type,
            ),
        )
        if call.read_back:
            self._read_back(call, key, data)
        self._known.written(key, data)
        self._known.keep(make=False)

    def _read_back(self, call: Call, key: str, data: bytes) -> None:
        found: bytes | None = None
        try:
            for attempt in range(_LOOKS):
                time.sleep(attempt / 4)
                found = self._seen_again(key, data)
                if found is not None:
                    break
        except StoreError as error:
            raise CallFailed(
                call,
                f"Failed to write {key}: it cannot be read again ({error.message})",
                error.hint,
                error.passes,
            ) from error
        if found == data:
            return
        what = "does not show it" if found is None else "gives back something else"
        raise CallFailed(
            call,
            f"Failed to write {key}: the store took it, and {what}",
            "Try again; if it lasts, ask the provider, or whoever runs the proxy in front of it",
            passes=True,
        )

    def _seen_again(self, key: str, data: bytes) -> bytes | None:
        """What lies under a key; where it may not be read its size must do, and with a key that may
        only write the store's word.
        """
        try:
            return self.get(key)
        except Refused as error:
            if error.status not in NOT_THIS_WAY:
                raise
        try:
            stored = self.s3.head(calls.SEE, key)
        except Refused as error:
            if error.status != 403:
                raise
            return data
        if stored is None:
            return None
        return data if stored.bytes == len(data) else b""

    def link(self, key: str, seconds: int) -> str:
        """An address of an object for those without a key, good for so long; whoever has it can
        read the object. Nothing is asked of the store.
        """
        return self.s3.client.generate_presigned_url(
            "get_object", {"Bucket": self.s3.bucket, "Key": key}, seconds
        )

    def delete(self, keys: Sequence[str], call: Call = calls.DELETE) -> None:
        """Delete objects one by one, in this order; one that is not there counts as deleted.

        :raises StoreError: at the first that cannot be deleted; those before it are gone.
        """
        for key in keys:
            self._known.forget(key)
            try:
                self.s3.delete(call, key, f"delete {key}")
            except Refused as error:
                if error.code != "NoSuchKey":
                    raise

    def delete_many(self, keys: Sequence[str], call: Call = calls.DELETE) -> None:
        """Delete objects in any order, a thousand by one request where the store takes that, else
        side by side; one that is not there counts as deleted.

        The store's word is not enough: what it says to be deleted is looked for in a listing.

        :raises StoreError: one cannot be deleted, or is still there; others may be gone.
        """
        for first in range(0, len(keys), _AT_A_TIME):
            some = keys[first : first + _AT_A_TIME]
            for key in some:
                self._known.forget(key)
            self._delete_side_by_side(self._undeleted(call, some), call)
        if still := self._still_there(keys):
            self._delete_side_by_side(still, call)
            if left := [key for key in still if self.head(key) is not None]:
                raise CallFailed(
                    call,
                    f"Failed to delete {left[0]}: the store says that it did, and still has it",
                    "Ask the provider whether the bucket keeps what is deleted (a lock, a hold)",
                )

    def _undeleted(self, call: Call, keys: Sequence[str]) -> Sequence[str]:
        """Those that one request for all of them has not deleted, as far as the store says."""
        if not self._deletes_many:
            return keys
        named: DeleteTypeDef = {"Objects": [{"Key": key} for key in keys]}
        try:
            answer = self.s3.call(
                call,
                f"delete {len(keys)} objects",
                lambda client: client.delete_objects(Bucket=self.s3.bucket, Delete=named),
            )
        except NotS3:
            raise
        except (Refused, NotAsS3) as error:
            if isinstance(error, Refused) and error.status >= 500 and error.status != 501:
                raise
            self._deletes_many = False  # it knows no such request, or wants another checksum
            return keys
        gone = {one.get("Key") for one in answer.get("Deleted", [])}
        return [key for key in keys if key not in gone]

    def _delete_side_by_side(self, keys: Sequence[str], call: Call) -> None:
        if keys:
            with ThreadPoolExecutor(min(_AT_ONCE, len(keys))) as pool:
                list(pool.map(lambda key: self.delete([key], call), keys))

    def _still_there(self, keys: Sequence[str]) -> Sequence[str]:
        """Those of them that listings of their folders show."""
        folders: dict[str, list[str]] = {}
        for key in sorted(keys):
            folders.setdefault(key[: key.rfind("/") + 1], []).append(key)
        found: list[str] = []
        for folder, its in folders.items():
            wanted = set(its)
            for item in self.list(folder, delimiter="/", after=its[0][:-1]):
                if item.key > its[-1]:
                    break
                found += [item.key] if item.key in wanted else []
        return found

    def upload(self, key: str, expected_bytes: int) -> Upload:
        """Begin an object of at most about ``expected_bytes``; see :class:`Upload`."""
        return Upload(self.s3, key, expected_bytes)

    def download(self, key: str, expected_bytes: int | None = None) -> Download:
        """The bytes of an object in chunks; see :class:`Download`."""
        return Download(self.s3, key, expected_bytes)

    def clock_difference(self) -> float:
        """Seconds that this machine's clock is ahead of the store's (to about one second)."""
        return clock_skew.difference(self.s3, calls.CLOCK)

    @property
    def clock_seen(self) -> float | None:
        """The same, as the answers so far tell it; None where none did. Asks nothing."""
        return self.s3.ahead

    def abort_uploads(self, key: str) -> int:
        """Abort every unfinished upload of exactly that key, whoever has begun it; how many."""
        found = [one for one in unfinished(self.s3, calls.SEE_LEFT, key) if one.key == key]
        for one in found:
            doing = f"abort an unfinished upload of {key}"
            abort(self.s3, calls.SWEEP_LEFT, key, one.upload_id, doing)
        return len(found)

    def unfinished_bytes(self, prefix: str) -> Sequence[int]:
        """Of each unfinished upload under ``prefix``, whoever has begun it, the bytes of its
        parts.
        """
        found = unfinished(self.s3, calls.COUNT_LEFT, prefix, patience=QUICK)
        return [bytes_of(self.s3, calls.COUNT_LEFT, one) for one in found]

    def sweep_uploads(self, prefix: str, older_than_hours: float) -> int:
        """Abort uploads under ``prefix`` that began longer ago than that, by the store's clock.

        :returns: how many there were. What could not be done is among :attr:`refused`.
        """
        return sweep(self.s3, prefix, older_than_hours)


class _Page(NamedTuple):
    """The objects of a page, the sub-prefixes that it leaves out, whether there are more, and
    where.
    """

    objects: Sequence[StoredObject]
    folders: Sequence[str]
    more: bool
    token: str


def _read(answer: ListObjectsV2OutputTypeDef) -> _Page:
    """:raises OddAnswer: it is no page of a listing."""
    if not {"Name", "KeyCount", "MaxKeys", "Contents", "IsTruncated"} & set(answer):
        raise OddAnswer("with nothing where a listing should be")
    found = [
        stored_object(entry["Key"], entry["Size"], entry) for entry in answer.get("Contents", [])
    ]
    folders = [entry["Prefix"] for entry in answer.get("CommonPrefixes", []) if "Prefix" in entry]
    more, token = answer.get("IsTruncated", False), answer.get("NextContinuationToken", "")
    return _Page(found, folders, more, token)
