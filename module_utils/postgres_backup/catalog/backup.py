"""One backup in the bucket: what its object and its manifest say together."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from datetime import datetime
from typing import Literal, TypedDict, cast

from ..clock import format_timestamp, parse_timestamp
from ..machine.identity import Mark
from ..signing.judge import BY_NOBODY, TRUSTED, UNSIGNED, WRONG, Kind, Standing
from . import dated
from .manifest import Described, Manifest, Proof, ServerIdentity
from .names import BackupName, Layout
from .proofs import KEPT, Noted
from .proofs import Kind as ProofKind
from .tables import NO_TABLES, Tables

#: bad: not what its manifest says; foreign: of another database or server; unsigned: nobody vouches
#: for it, while others are signed; proven: read to its end, or restored; good: has a manifest;
#: unproven: has none
State = Literal["bad", "foreign", "unsigned", "proven", "good", "unproven"]


class ProofLine(TypedDict):
    """The proof that says most of a backup: the newest of a restore, else the newest."""

    kind: ProofKind
    at: str


class BackupLine(TypedDict):
    """A backup in a listing. What only a manifest knows is None, or empty, where there is none."""

    backup: str
    #: of which part of the database it is; empty: of all of it
    partial: str
    key: str
    database: str
    server: str
    taken_at: str
    age_hours: float
    bytes: int
    dump_bytes: int | None
    rows: int | None
    seconds: float | None
    sha256: str
    state: State
    problem: str
    ours: bool
    proven: bool
    #: how it was proven (``read`` or ``restored``) and when; None where it was not
    proof: ProofLine | None
    #: when its object was last seen to be what was uploaded, or it was proven; empty: never
    checked_at: str
    #: what its signature is worth: trusted, unsigned, stranger or wrong
    signature: Kind
    #: of the key that signed it; empty where nobody did
    signed_by: str
    postgresql_version: str
    collate: str
    encrypted: bool


@dataclasses.dataclass(frozen=True)
class Backup:
    """A backup in the bucket, of a whole database or (``name.part``) of a part of one.

    :param described: what its manifest says, in short or whole; None for objects without one (made
        by scripts, or by a run that died before the end).
    :param problem: why it is not good although it has a manifest; empty where all is well.
    :param problem_code: the same as a finding's code: MANIFEST_DAMAGED, MANIFEST_UNREADABLE,
        MANIFEST_NEWER, MANIFEST_OF_ANOTHER, SIGNATURE_WRONG, SIZE_DIFFERS or TABLES_REWRITTEN.
    :param ours: its manifest names this database and this server.
    :param candidate: it may be a backup of this database: ours, or nothing says whose it is.
    :param whose: of another server that has the same name, whose; then it is not ours.
    :param untold: two servers write under this name, and it may be the other's.
    :param held: why no prune takes it now, whatever its age; empty where nothing holds it.
    :param manifest_sha256: of the manifest as it lies there; empty where there is none.
    :param standing: what the signature of its manifest is worth.
    :param passed_over: nobody vouches for it, and this server has signed others: it does not count.
    :param noted: the proofs that lie beside it.
    :param meant: tables whose rows have gone on purpose since, see ``said.hash_of``.
    :param modified: when it was written, by the store's clock; None where that is not known.
    :param columns: its tables, where it is described in short.
    :param read: reads the manifest, where it is described in short.
    """

    name: BackupName
    layout: Layout
    bytes: int
    described: Described | None = dataclasses.field(default=None, repr=False)
    problem: str = ""
    problem_code: str = ""
    ours: bool = False
    candidate: bool = False
    whose: Mark | None = None
    untold: bool = False
    held: str = ""
    manifest_sha256: str = ""
    standing: Standing = BY_NOBODY
    passed_over: bool = False
    noted: Noted = dataclasses.field(default_factory=Noted, repr=False)
    meant: frozenset[str] = frozenset()
    modified: datetime | None = None
    columns: Tables = dataclasses.field(default=NO_TABLES, repr=False, compare=False)
    read: Callable[[], Manifest] | None = dataclasses.field(default=None, repr=False, compare=False)

    @functools.cached_property
    def manifest(self) -> Manifest | None:
        """All that its manifest says; asks the store where it is described in short, so who looks
        at many backups asks for :attr:`described` and :attr:`tables`.

        :raises BadBackupError: it lies there no more as it was seen.
        :raises StoreError: it cannot be read.
        """
        if self.described is None or self.read is None:
            return cast("Manifest | None", self.described)
        return self.read()

    @functools.cached_property
    def tables(self) -> Tables:
        """The rows of its tables; none where nothing is known of them."""
        if self.described is None or self.read is not None:
            return self.columns
        return Tables.of(cast(Manifest, self.described).get("tables", {}))

    @functools.cached_property
    def mark(self) -> Mark:
        """The server that it was taken of, as far as its manifest says."""
        server: ServerIdentity = self.described["server"] if self.described else {}
        names = ("system_identifier", "started", "machine", "machine_name")
        return Mark(*(str(server.get(name) or "") for name in names))

    @property
    def since(self) -> datetime | None:
        """When its server took its first backup; None where it does not say."""
        text = self.described["server"].get("since") if self.described else None
        return parse_timestamp(text) if text else None

    @property
    def trusted(self) -> bool:
        """Its manifest is signed by a key that is trusted for the server that it names."""
        return self.standing.kind == TRUSTED

    @property
    def forged(self) -> bool:
        """Its manifest has a signature, of other bytes."""
        return self.standing.kind == WRONG

    @property
    def key(self) -> str:
        return self.layout.backup(self.name)

    @property
    def taken_at(self) -> datetime:
        return self.name.taken_at

    @functools.cached_property
    def ahead(self) -> bool:
        """A clock that was ahead has named it, see :mod:`.dated`."""
        return dated.is_ahead(self.taken_at, self.modified)

    @functools.cached_property
    def dated_at(self) -> datetime:
        """When it was taken, as far as the store's clock bears that out."""
        return dated.dated_at(self.taken_at, self.modified)

    @property
    def whole(self) -> bool:
        """As far as can be told without reading it: the manifest, written last, agrees with the
        object.
        """
        return self.described is not None and not self.problem

    @property
    def good(self) -> bool:
        """Whole; and somebody vouches for it, where anybody does for any."""
        return self.whole and not self.passed_over

    @functools.cached_property  # what is said of a backup asks for them a dozen times
    def proofs(self) -> tuple[Proof, ...]:
        """Those that count, the newest last; manifests of schema 1 hold theirs themselves."""
        if self.described is None:
            return ()
        within = self.described.get("proofs", []) if self.described.get("schema", 1) == 1 else []
        return (*within, *(one for one in self._counting.proofs if one["kind"] != "stored"))

    @property
    def checked_at(self) -> str:
        """When it was last read, restored, or seen to be the object that was uploaded; empty:
        never.
        """
        if not self.whole:
            return ""
        return max((one["at"] for one in (*self.proofs, *self._counting.proofs)), default="")

    @property
    def old_proofs(self) -> list[str]:
        """Keys of proofs that two newer ones make needless; never the newest of its kind."""
        newest: dict[str, str] = {}
        for key, one in self._counting.read:
            newest.setdefault(one["kind"], key)
        return [key for key, _ in self._counting.read[KEPT:] if key not in newest.values()]

    @property
    def proof(self) -> ProofLine | None:
        """How it was proven; None where it was not, or does not count."""
        if not self.proven:
            return None
        newest = sorted(self.proofs, key=lambda one: one["at"], reverse=True)
        best = next((one for one in newest if one["kind"] == "restored"), newest[0])
        return {"kind": "restored" if best["kind"] == "restored" else "read", "at": best["at"]}

    @property
    def restored(self) -> bool:
        """It was proven by a restore or a drill."""
        return self.proof is not None and self.proof["kind"] == "restored"

    @functools.cached_property
    def _counting(self) -> Noted:
        return self.noted.counting(self.name, self.manifest_sha256, self.trusted)

    @property
    def was_read(self) -> bool:
        """To its end, or restored, and it was what the manifest says."""
        return self.whole and bool(self.proofs)

    @property
    def proven(self) -> bool:
        """It was read, and it counts."""
        return self.good and self.was_read

    @property
    def waits_for_adoption(self) -> bool:
        """Under our name, but nothing says whose it is; pruned only after ``adopt``.

        A manifest that ``verify`` wrote proves it whole and leaves that open.
        """
        return self.candidate and not self.ours and not self.problem

    @property
    def unvouched(self) -> bool:
        """``adopt`` offers to vouch for it: nobody has signed it, and it is ours, or may be."""
        may_be_ours = self.waits_for_adoption or (self.ours and not self.problem)
        return may_be_ours and self.standing.kind == UNSIGNED

    @property
    def state(self) -> State:
        if self.problem:
            return "bad"
        if not self.candidate:
            return "foreign"
        if self.passed_over:
            return "unsigned"
        if self.proven:
            return "proven"
        return "good" if self.described else "unproven"

    def describe(self, now: datetime) -> BackupLine:
        """For a listing."""
        known = self.described or cast(Described, {})
        server: ServerIdentity = known.get("server") or {}
        locale = known.get("locale")
        return {
            "backup": str(self.name),
            "partial": known.get("partial", "") or self.name.part,
            "key": self.key,
            "database": known.get("database", ""),
            "server": server.get("name", ""),
            "taken_at": format_timestamp(self.taken_at),
            "age_hours": round((now - self.taken_at).total_seconds() / 3600, 2),
            "bytes": self.bytes,
            "dump_bytes": known.get("dump_bytes"),
            "rows": known.get("rows"),
            "seconds": known.get("seconds"),
            "sha256": known.get("sha256", ""),
            "state": self.state,
            "problem": self.problem,
            "ours": self.ours,
            "proven": self.proven,
            "proof": self.proof,
            "checked_at": self.checked_at,
            "signature": self.standing.kind,
            "signed_by": self.standing.fingerprint,
            "postgresql_version": known.get("postgresql_version", ""),
            "collate": locale.get("collate", "") if locale else "",
            "encrypted": self.name.encrypted,
        }
