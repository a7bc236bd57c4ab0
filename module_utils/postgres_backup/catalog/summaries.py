"""Manifests that were read before, in short: a look at thousands of them wants a few fields of
each, and the columns of its tables. They lie in a file beside the state.

What a manifest was found to be is kept by what the listing tells of it and of its signature, their
MD5 and bytes, so what has changed is read anew. A summary is not what the store keeps, so its MD5
cannot vouch for it; a code of authentication does, made with what only this server has: the file
of its signing key, and the secret of its key to the store. One that is lost, old, damaged or forged
costs time and never truth. Whom to believe is asked at each look: kept is only whose key has
signed.

What is restored, verified or drilled is read anew, with its signature.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import hmac
import json
import os
from collections.abc import Collection, Iterator, Mapping
from typing import cast

from ..machine.files import read_bounded
from ..machine.records import MOST_BYTES, Record, Records
from ..s3.client import md5
from ..s3.seen import Told
from ..s3.store import Store
from ..signing import keys
from .manifest import Described, Manifest
from .signed import SUFFIX
from .tables import Names, Tables, packed, unpacked

#: the file, below the state's folder
NAME = "seen-manifests"
#: bytes of the fields of one; what has more is read at each look
_MOST_FIELDS = 64 * 1024
#: bytes that wait to be written down
_MOST_WAITING = 4 * 1024 * 1024
#: bytes of a summary, of 125,000 tables too
_MOST_OF_ONE = 32 * 1024 * 1024
_MAGIC = b"pgbsums1"
#: said to the code, so that it is of no use for anything else, and that a program whose summaries
#: hold more does not take these
_MEANT_FOR = b"postgres-backup summary of a manifest 1\0"
_CODE_BYTES, _KEY_BYTES, _LENGTH_BYTES = 32, 16, 4


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a manifest was found to be.

    :param sha256: of its bytes.
    :param signer: the 32 bytes of the key that has signed it; empty: none has.
    :param wrong: why its signature is none of these bytes; empty where it is, or there is none.
    """

    described: Described
    tables: Tables
    sha256: str
    signer: bytes = b""
    wrong: str = ""


class Summaries:
    """For one look, and one thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._secret = b""
        self._records: Records | None = None
        self._names: dict[bytes, Names] = {}
        self._held: dict[Names, Names] = {}
        self._values: dict[str, object] = {}
        self._known: dict[bytes, Summary] = {}
        self._used: set[bytes] = set()
        self._new: dict[bytes, Record] = {}
        self._waiting = 0

    def known(self, keys: Collection[str], below: Collection[str]) -> Iterator[tuple[str, Summary]]:
        """Those of these manifests that need not be read.

        :param below: the keys that a listing shows, of signatures too.
        """
        told_of = [(key, of) for key in keys if (of := self._key_of(self._told(key, below)))]
        # the databases of a server share folders
        yield from ((key, self._known[of]) for key, of in told_of if of in self._known)
        asked = [(key, of) for key, of in told_of if of not in self._known]
        if not asked:
            return
        with self._file.opened() as there:
            if there is None:
                return
            for key, of in asked:
                body = self._true(of, there.get(of))
                if body is None:
                    continue
                of_names = body[:_KEY_BYTES]
                if of_names not in self._names:
                    told = self._true(of_names, there.get(of_names))
                    if told is None:
                        continue
                    names = Names(json.loads(told))
                    self._names[of_names] = self._held.setdefault(names, names)
                self._used.update((of, of_names))
                self._known[of] = self._read(self._names[of_names], body[_KEY_BYTES:])
                yield key, self._known[of]

    def note(
        self,
        key: str,
        below: Collection[str],
        data: bytes,
        signature: bytes | None,
        found: Summary,
    ) -> bool:
        """It was just read; whether it is kept.

        :param data: the bytes that it was made of, and ``signature`` those beside them: only what
            the listing has told of is kept.
        """
        told = self._told(key, below)
        read = [data] if signature is None else [data, signature]
        if told != [Told(md5(one), len(one)) for one in read] or (of := self._key_of(told)) is None:
            return False
        text = self._written(found)
        if len(text) > _MOST_FIELDS:
            return False
        names = json.dumps(found.tables.names).encode()
        of_names = hashlib.sha256(names).digest()[:_KEY_BYTES]
        if of_names not in self._names:
            self._names[of_names] = found.tables.names
            self._new[of_names] = self._record(of_names, names)
        length = len(text).to_bytes(_LENGTH_BYTES, "big")
        self._new[of] = self._record(of, of_names + length + text + packed(found.tables))
        self._known[of] = found
        self._waiting += self._new[of].size
        if self._waiting > _MOST_WAITING:
            self.keep()
        return True

    def tables_of(self, manifest: Manifest) -> Tables:
        """Its tables in columns, whose names are held once for all that have the same."""
        made = Tables.of(manifest["tables"])
        names = self._held.setdefault(made.names, made.names)
        return Tables(names, made.rows, made.hashes)

    def keep(self) -> None:
        """Write down what was noted. Where that cannot be done, the next look reads it again."""
        new, self._new, self._waiting = self._new, {}, 0
        if new:
            self._file.add(new, self._used, make=self._store.keeps, most_bytes=MOST_BYTES)

    @property
    def _file(self) -> Records:
        if self._records is None:
            path = os.path.join(self._store.settings.state_dir, NAME)
            self._records = Records(path, _MAGIC, _MOST_OF_ONE)
        return self._records

    def _told(self, key: str, below: Collection[str]) -> list[Told] | None:
        """What the listing tells of a manifest, and of its signature where it has one."""
        wanted = [key, key + SUFFIX] if key + SUFFIX in below else [key]
        told = [one for name in wanted if (one := self._store.told(name))]
        return told if len(told) == len(wanted) else None

    @staticmethod
    def _key_of(told: list[Told] | None) -> bytes | None:
        if told is None:
            return None
        data = b"".join(one.digest + one.bytes.to_bytes(8, "big") for one in told)
        return hashlib.sha256(data).digest()[:_KEY_BYTES]

    def _written(self, found: Summary) -> bytes:
        """The fields as JSON, in which those that are no plain values are JSON again: most backups
        of a server have the same, which are then read and held once.
        """
        small: Mapping[str, object] = found.described
        inner = {name: one for name, one in small.items() if isinstance(one, (dict, list))}
        fields = {
            "plain": {name: one for name, one in small.items() if name not in inner},
            "inner": {name: json.dumps(one) for name, one in inner.items()},
            "sha256": found.sha256,
            "signer": found.signer.hex(),
            "wrong": found.wrong,
        }
        return json.dumps(fields, separators=(",", ":")).encode()

    def _read(self, names: Names, data: bytes) -> Summary:
        end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "big")
        fields = json.loads(data[_LENGTH_BYTES:end])
        described = fields["plain"]
        for name, text in fields["inner"].items():
            if text not in self._values:
                self._values[text] = json.loads(text)
            described[name] = self._values[text]
        signer = bytes.fromhex(fields["signer"])
        tables = unpacked(names, data[end:])
        return Summary(
            cast(Described, described), tables, fields["sha256"], signer, fields["wrong"]
        )

    def _record(self, key: bytes, body: bytes) -> Record:
        return Record(len(body), self._code(key, body) + body)

    def _true(self, key: bytes, record: Record | None) -> bytes | None:
        """What a record says, where this server has written it."""
        if record is None:
            return None
        code, body = record.stored[:_CODE_BYTES], record.stored[_CODE_BYTES:]
        return body if hmac.compare_digest(code, self._code(key, body)) else None

    def _code(self, key: bytes, body: bytes) -> bytes:
        if not self._secret:
            self._secret = self._made_secret()
        return hmac.digest(self._secret, key + body, "sha256")

    def _made_secret(self) -> bytes:
        """A server without a key of its own has its secret of the store, and nothing else that it
        could lean on.
        """
        settings, own = self._store.settings, b""
        with contextlib.suppress(OSError):
            own, _ = read_bounded(settings.signing_key_file, keys.MAX_BYTES)
        parts = (_MEANT_FOR, hashlib.sha256(own).digest(), settings.s3_secret_key.encode())
        return hashlib.sha256(b"".join(parts)).digest()
