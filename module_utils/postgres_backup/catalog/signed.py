"""Objects with a signature beside them, ``<object>.sig``: written by this server, and judged by
whoever reads them.

The signature comes first: nobody ever sees an object of ours that is not signed yet.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Iterable, Sequence

from ..errors import BadBackupError, PostgresBackupError, UsageError
from ..findings import Finding, finding
from ..s3 import calls
from ..s3.calls import Call
from ..s3.errors import may_fail
from ..s3.store import Store
from ..settings import Settings
from ..signing import keys, signers, sshsig
from ..signing.judge import BY_NOBODY, Standing, judge, standing_of
from ..signing.keys import PublicKey
from ..signing.signers import Signers

SUFFIX = ".sig"
#: so few are deleted one by one
FEW = 4


def put(store: Store, call: Call, key: str, data: bytes) -> list[Finding]:
    """Write a small object of ours, JSON, with its signature.

    What cannot be signed is written all the same: a backup that somebody has to trust by hand is
    better than none.

    :param call: what the object is; its signature is housekeeping, whatever it is.
    :return: why it is not signed; empty where it is.
    :raises StoreError: the object itself could not be written.
    """
    findings: list[Finding] = []
    signature = b""
    try:
        signature = keys.load_or_make(store.settings)[0].sign(data)
    except UsageError as error:
        findings = [finding("NOT_SIGNED", f"{key} is not signed: {error.message}. {error.hint}")]
    with may_fail(findings):
        if signature:
            store.put(calls.SIGN, key + SUFFIX, signature)
        else:  # one of an earlier object under this key would make it a forged one
            store.delete([key + SUFFIX], calls.UNSIGN)
    store.put(call, key, data, "application/json")
    return findings


def each_after_its_signature(keys: Iterable[str]) -> list[str]:
    """The keys to delete for these, in order: a signature never stays alone, for nothing says whose
    it is.
    """
    return [one for key in keys for one in (key + SUFFIX, key)]


def delete(store: Store, keys: Sequence[str], call: Call = calls.DELETE) -> None:
    """Delete objects, each after its signature; many of them all signatures first.

    :raises StoreError: one cannot be deleted.
    """
    if len(keys) <= FEW:
        store.delete(each_after_its_signature(keys), call)
        return
    store.delete_many([key + SUFFIX for key in keys], call)
    store.delete_many(keys, call)


def forged(name: str, standing: Standing, hint: str) -> BadBackupError:
    """That its signature is wrong."""
    return BadBackupError(
        f"{name} is forged, or damaged: {standing.says}",
        hint,
        [finding("SIGNATURE_WRONG", f"{name}: {standing.says}")],
    )


@dataclasses.dataclass(frozen=True)
class Believed:
    """Whom this server believes; found out when there is a signature to judge, for what checks one
    takes some 9 MB, which a load of what nobody has signed can use better.

    :param load: finds it out.
    """

    load: Callable[[], Signers]
    _standings: dict[tuple[bytes, str], Standing] = dataclasses.field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    @classmethod
    def by(cls, settings: Settings) -> Believed:
        return cls(lambda: signers.load(settings))

    @functools.cached_property
    def _known(self) -> Signers | UsageError:
        try:
            return self.load()
        except UsageError as error:
            return error

    @property
    def signers(self) -> Signers:
        """Nobody where that cannot be known."""
        return Signers("") if isinstance(self._known, UsageError) else self._known

    @property
    def problem(self) -> UsageError | None:
        """Why it cannot be known."""
        return self._known if isinstance(self._known, UsageError) else None

    def judge(self, data: bytes, signature: bytes | None, server_name: str) -> Standing:
        """What an object is worth that says to be of that server."""
        if signature is None:
            return BY_NOBODY
        return judge(data, signature, server_name, self.signers)

    def standing_of(self, signer: bytes, server_name: str) -> Standing:
        """What a signature of a key, its 32 bytes, is worth for what says to be of that server.
        Found out once: thousands of backups ask for the same.
        """
        asked = signer, server_name
        if asked not in self._standings:
            self._standings[asked] = standing_of(PublicKey(signer), server_name, self.signers)
        return self._standings[asked]


def signatures(
    store: Store, objects: Collection[str], listed: Collection[str], afresh: bool = False
) -> dict[str, bytes]:
    """The signatures of those objects beside which a listing shows one, by the object's key.

    One that cannot be had is empty, which no signature is.
    """

    def read(key: str, data: bytes | PostgresBackupError | None) -> tuple[str, bytes]:
        return key.removesuffix(SUFFIX), data if isinstance(data, bytes) else b""

    wanted = [key + SUFFIX for key in sorted(objects) if key + SUFFIX in listed]
    return dict(store.get_many(wanted, read, sshsig.MAX_BYTES, afresh))
