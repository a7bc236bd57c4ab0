"""Objects with a signature beside them, ``<object>.sig``: written by this server, and judged by
whoever reads them.

The signature comes first: nobody ever sees an object of ours that is not signed yet.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from ..errors import PostgresBackupError, StoreError, UsageError
from ..findings import Finding, finding
from ..s3.store import Store
from ..settings import Settings
from ..signing import keys, signers, sshsig
from ..signing.judge import Standing, judge
from ..signing.signers import Signers

SUFFIX = ".sig"


def put(store: Store, key: str, data: bytes) -> list[Finding]:
    """Write a small object of ours, JSON, with its signature.

    What cannot be signed is written all the same: a backup that somebody has to trust by hand is
    better than none.

    :return: why it is not signed; empty where it is.
    :raises StoreError: the object itself could not be written.
    """
    findings: list[Finding] = []
    signature = b""
    try:
        signature = keys.load_or_make(store.settings)[0].sign(data)
    except UsageError as error:
        findings = [finding("NOT_SIGNED", f"{key} is not signed: {error.message}. {error.hint}")]
    try:
        if signature:
            store.put(key + SUFFIX, signature)
        else:  # one of an earlier object under this key would make it a forged one
            store.delete([key + SUFFIX])
    except StoreError as error:
        findings = [finding("NOT_SIGNED", f"{key} is not signed: {error.message}. {error.hint}")]
    store.put(key, data, "application/json")
    return findings


@dataclasses.dataclass(frozen=True)
class Believed:
    """Whom this server believes.

    :param problem: why that cannot be known; then it believes nobody.
    """

    signers: Signers
    problem: UsageError | None = None

    @classmethod
    def by(cls, settings: Settings) -> Believed:
        try:
            return cls(signers.load(settings))
        except UsageError as error:
            return cls(Signers(settings.server_name), error)

    def judge(self, data: bytes, signature: bytes | None, server_name: str) -> Standing:
        """What an object is worth that says to be of that server."""
        return judge(data, signature, server_name, self.signers)


def signatures(store: Store, objects: Collection[str], listed: Collection[str]) -> dict[str, bytes]:
    """The signatures of those objects beside which a listing shows one, by the object's key.

    One that cannot be had is empty, which no signature is.
    """

    def read(key: str, data: bytes | PostgresBackupError | None) -> tuple[str, bytes]:
        return key.removesuffix(SUFFIX), data if isinstance(data, bytes) else b""

    wanted = [key + SUFFIX for key in sorted(objects) if key + SUFFIX in listed]
    return dict(store.get_many(wanted, read, sshsig.MAX_BYTES))
