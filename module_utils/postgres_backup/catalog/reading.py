"""Manifests of the bucket, read: in short for a look at many, whole for whoever restores one."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from ..errors import BadBackupError, PostgresBackupError
from ..s3.store import Store
from ..shapes.reader import MOST_BYTES
from ..signing.judge import BY_NOBODY, Standing, signer_of, wrong
from ..signing.keys import PublicKey
from . import signed
from .manifest import Described, Manifest, answer, in_short, listed_only, parse, replaced
from .summaries import Summaries, Summary
from .tables import NO_TABLES, Tables


class Found(NamedTuple):
    """What lies under the key of a manifest: it, what is wrong with it, or None where it has gone;
    the SHA-256 of its bytes, and whose word they are.

    ``tables`` and ``read`` (which reads all of it): where it is in short.
    """

    manifest: Described | BadBackupError | None
    sha256: str
    standing: Standing
    tables: Tables = NO_TABLES
    read: Callable[[], Manifest] | None = None


NOTHING = Found(None, "", BY_NOBODY)


class Manifests:
    """Those of one store.

    :param summaries: of those that this look, or an earlier one, has read.
    :param believed: whom this server believes.
    """

    def __init__(self, store: Store, summaries: Summaries, believed: signed.Believed) -> None:
        self._store, self._summaries, self._believed = store, summaries, believed

    def found(
        self, wanted: Collection[str], below: Collection[str], afresh: bool = False
    ) -> dict[str, Found]:
        """What lies under the keys of manifests.

        :param below: the keys that a listing shows, of signatures too.
        :param afresh: they are read whole, whatever is remembered of them.
        """
        if afresh:
            signatures = signed.signatures(self._store, wanted, below, afresh)
            whole = _Reader(self._believed, signatures)
            return dict(self._store.get_many(wanted, whole, MOST_BYTES, afresh))
        summaries = self._summaries
        known = dict(summaries.known(wanted, below))
        found = {key: self._in_short(key, one) for key, one in known.items()}
        if left := [key for key in wanted if key not in known]:
            signatures = signed.signatures(self._store, left, below)
            reader = _Shortening(self._believed, signatures, summaries, below)
            read = self._store.get_many(left, reader, MOST_BYTES, kept=lambda one: not one.kept)
            summaries.keep()
            for one in read:
                short = one.found if one.short is None else self._in_short(one.key, one.short)
                found[one.key] = short
        return found

    def _in_short(self, key: str, known: Summary) -> Found:
        server = known.described["server"].get("name", "")
        standing = BY_NOBODY
        if known.wrong:
            standing = wrong(known.wrong)
        elif known.signer:
            standing = self._believed.standing_of(known.signer, server)

        def read() -> Manifest:
            return self._whole(key, known.sha256)

        return Found(known.described, known.sha256, standing, known.tables, read)

    def _whole(self, key: str, sha256: str) -> Manifest:
        """A manifest of which only a summary is at hand.

        :raises BadBackupError: it is not there any more, or another one is.
        """
        data = self._store.get(key, MOST_BYTES)
        if data is None:
            raise listed_only(key)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise replaced(key)
        return parse(data, key)


class _Reader:
    """Reads manifests, and judges each by its signature.

    :param signatures: by the manifests' keys.
    """

    def __init__(self, believed: signed.Believed, signatures: Mapping[str, bytes]) -> None:
        self._believed, self._signatures = believed, signatures

    def __call__(self, key: str, data: bytes | PostgresBackupError | None) -> tuple[str, Found]:
        found = answer(key, data, parse)
        if found is None or not isinstance(data, bytes):
            return key, NOTHING._replace(manifest=found)
        server = found["server"].get("name", "") if isinstance(found, dict) else ""
        standing = self._believed.judge(data, self._signatures.get(key), server)
        return key, Found(found, hashlib.sha256(data).hexdigest(), standing)


class _Short(NamedTuple):
    """A manifest that was read, in short; ``found`` where it cannot be. ``kept``: the next look
    need not read it.
    """

    key: str
    found: Found
    short: Summary | None = None
    kept: bool = False


class _Shortening:
    """The same, of which only a summary stays in memory: of many manifests with many tables there
    is no more than one at a time.
    """

    def __init__(
        self,
        believed: signed.Believed,
        signatures: Mapping[str, bytes],
        summaries: Summaries,
        below: Collection[str],
    ) -> None:
        self._reader = _Reader(believed, signatures)
        self._signatures, self._summaries, self._below = signatures, summaries, below
        self._one = threading.Lock()

    def __call__(self, key: str, data: bytes | PostgresBackupError | None) -> _Short:
        with self._one:
            if not isinstance(data, bytes):
                return _Short(key, self._reader(key, data)[1])
            found = answer(key, data, parse)
            if not isinstance(found, dict):
                return _Short(key, self._reader(key, data)[1])
            signature = self._signatures.get(key)
            signer = signer_of(data, signature) if signature is not None else None
            short = Summary(
                in_short(found),
                self._summaries.tables_of(found),
                hashlib.sha256(data).hexdigest(),
                signer.raw if isinstance(signer, PublicKey) else b"",
                signer.says if isinstance(signer, Standing) else "",
            )
            kept = self._summaries.note(key, self._below, data, signature, short)
            return _Short(key, NOTHING, short, kept)
