"""What the bucket holds, from the bucket alone: listings joined with manifests."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import datetime
from typing import Literal, TypedDict, cast

from ..clock import format_timestamp
from ..errors import BadBackupError, PostgresBackupError, UsageError
from ..s3.client import StoredObject
from ..s3.store import Store, Unreadable
from ..settings import Settings
from ..text import nearest
from .manifest import Manifest, Proof, ServerIdentity, may_lack_rows, parse, unreadable
from .names import BackupName, Layout
from .owners import advice, owners
from .reader import MOST_BYTES

LATEST = "latest"
#: objects directly under a prefix that are looked at: a backup a quarter of an hour, for two years
_MOST_BACKUPS = 100_000
#: bad: not what its manifest says; foreign: of another database or server; proven: read to its end,
#: or restored; good: has a manifest; unproven: has none
State = Literal["bad", "foreign", "proven", "good", "unproven"]


class BackupLine(TypedDict):
    """A backup in a listing. What only a manifest knows is None, or empty, where there is none."""

    backup: str
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
    postgresql_version: str
    collate: str
    encrypted: bool


@dataclasses.dataclass(frozen=True)
class Backup:
    """A whole-database backup in the bucket.

    :param manifest: what its manifest says; None for objects without one (made by scripts, or by a
        run that died before the end).
    :param problem: why it is not good although it has a manifest; empty where all is well.
    :param problem_code: the same as a finding's code: MANIFEST_DAMAGED, MANIFEST_UNREADABLE,
        MANIFEST_NEWER, MANIFEST_OF_ANOTHER, SIZE_DIFFERS or TABLES_REWRITTEN.
    :param ours: its manifest names this database and this server.
    :param candidate: it may be a backup of this database: ours, or nothing says whose it is.
    """

    name: BackupName
    layout: Layout
    bytes: int
    manifest: Manifest | None = dataclasses.field(default=None, repr=False)
    problem: str = ""
    problem_code: str = ""
    ours: bool = False
    candidate: bool = False

    @property
    def key(self) -> str:
        return self.layout.backup(self.name)

    @property
    def taken_at(self) -> datetime:
        return self.name.taken_at

    @property
    def good(self) -> bool:
        """Whole as far as can be told without reading it: the manifest, written last, agrees with
        the object.
        """
        return self.manifest is not None and not self.problem

    @property
    def proofs(self) -> list[Proof]:
        return list(self.manifest.get("proofs", [])) if self.manifest else []

    @property
    def proven(self) -> bool:
        """It was read to its end, or restored, and was what the manifest says."""
        return self.good and bool(self.proofs)

    @property
    def waits_for_adoption(self) -> bool:
        """Under our name, but nothing says whose it is; pruned only after ``adopt``.

        A manifest that ``verify`` wrote proves it whole and leaves that open.
        """
        return self.candidate and not self.ours and not self.problem

    @property
    def state(self) -> State:
        if self.problem:
            return "bad"
        if not self.candidate:
            return "foreign"
        if self.proven:
            return "proven"
        return "good" if self.manifest else "unproven"

    def describe(self, now: datetime) -> BackupLine:
        """For a listing."""
        known = self.manifest or cast(Manifest, {})
        server: ServerIdentity = known.get("server") or {}
        locale = known.get("locale")
        return {
            "backup": str(self.name),
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
            "postgresql_version": known.get("postgresql_version", ""),
            "collate": locale.get("collate", "") if locale else "",
            "encrypted": self.name.encrypted,
        }


class Catalog:
    """The backups of one database.

    :param database: one of the settings' databases.
    """

    def __init__(self, settings: Settings, store: Store, database: str) -> None:
        self.settings, self.store, self.database = settings, store, database
        self.layout = layout_for(settings, database)
        self._lonely: list[tuple[Layout, str]] = []

    def backups(self) -> list[Backup]:
        """Every whole-database backup under the prefix, newest first; those of others too, marked
        as such.
        """
        # also where they were while the settings named fewer databases, or more
        layouts = (Layout(self.settings.s3_prefix), Layout(self.settings.s3_prefix, self.database))
        self._lonely = []
        backups = [backup for layout in layouts for backup in self._under(layout)]
        return sorted(backups, key=lambda backup: (backup.taken_at, backup.key), reverse=True)

    def _under(self, layout: Layout) -> list[Backup]:
        objects = {}
        for item in self.store.list(layout.root, delimiter="/", most=_MOST_BACKUPS):
            name = BackupName.parse(item.key[len(layout.root) :])
            if name:
                objects[name] = item
        manifests_at = self.store.list(layout.root + "manifests/", most=_MOST_BACKUPS)
        keys = {item.key for item in manifests_at}
        wanted = {layout.manifest(name) for name in objects}
        self._lonely += [(layout, key) for key in keys - wanted]
        manifests = dict(self.store.get_many(keys & wanted, _parsed, MOST_BYTES))
        return [
            self._join(layout, name, item, manifests.get(layout.manifest(name)))
            for name, item in objects.items()
        ]

    def _join(
        self,
        layout: Layout,
        name: BackupName,
        item: StoredObject,
        manifest: Manifest | BadBackupError | None,
    ) -> Backup:
        here = layout == self.layout or layout.database == self.database
        if manifest is None:
            return Backup(name, layout, item.bytes, candidate=here)
        if isinstance(manifest, BadBackupError):
            return Backup(
                name,
                layout,
                item.bytes,
                problem=manifest.message,
                problem_code=manifest.findings[0]["code"],
                candidate=here,
            )
        problem = code = ""
        if manifest["name"] != str(name):
            problem, code = f"its manifest is for {manifest['name']}", "MANIFEST_OF_ANOTHER"
        elif manifest["bytes"] != item.bytes:
            problem, code = (
                f"it has {item.bytes} bytes, its manifest says {manifest['bytes']}",
                "SIZE_DIFFERS",
            )
        elif lost := manifest.get("rewritten"):
            problem, code = may_lack_rows([str(table) for table in lost]), "TABLES_REWRITTEN"
        ours = (
            manifest["database"] == self.database
            and manifest["server"].get("name") == self.settings.server_name
        )
        unclaimed = manifest.get("adopted") is False and manifest["database"] == self.database
        return Backup(
            name, layout, item.bytes, manifest, problem, code, ours, candidate=ours or unclaimed
        )

    def leftovers(self) -> list[str]:
        """Keys of globals and manifests of ours whose backup is gone: a prune was cut short. As of
        the last :meth:`backups`; in the order to delete them.
        """
        keys = []
        for layout, key in sorted(self._lonely, key=lambda pair: pair[1]):
            try:
                manifest = parse(self.store.get(key, MOST_BYTES) or b"", key)
            except Unreadable:  # whose it is cannot be told
                continue
            name = BackupName.parse(manifest["name"])
            whose = (manifest["database"], manifest["server"].get("name"))
            if (
                name is None
                or layout.manifest(name) != key
                or whose != (self.database, self.settings.server_name)
            ):
                continue
            if self.store.head(layout.backup(name)) is None:  # it may have come after the listing
                keys += [layout.globals(name), key]
        return keys

    def resolve(self, wanted: str) -> Backup:
        """The backup of exactly that name, or the newest of this database for ``latest``.

        Where some are ours, ``latest`` is one of them: an object without a manifest under the same
        prefix may be another job's. It may be a bad one: whoever asks for the latest must hear of
        that, and not silently get an older one.

        :raises UsageError: there is none; names the three nearest.
        """
        backups = self.backups()
        if wanted == LATEST:
            newest = next((b for b in backups if b.ours), None) or next(
                (b for b in backups if b.candidate), None
            )
            if newest:
                return newest
            raise UsageError(
                f"There is no backup of {self.database} of {self.settings.server_name} "
                f"under {self._where()}",
                advice(owners(self.settings, self.store))
                or "Take one: postgres-backup backup (or `ansible-playbook playbooks/backup.yml`)",
            )
        wanted_name = wanted.rsplit("/", 1)[-1]
        for backup in backups:
            if wanted_name == str(backup.name) and wanted in (
                str(backup.name),
                backup.key,
                f"s3://{self.settings.s3_bucket}/{backup.key}",
            ):
                return backup
        near = nearest(wanted, [str(b.name) for b in backups if b.candidate])
        hint = (
            "The nearest: " + ", ".join(near)
            if near
            else "There are none of this database; `postgres-backup list` shows what there is"
        )
        raise UsageError(f"There is no backup {wanted!r} under {self._where()}", hint)

    def _where(self) -> str:
        return f"s3://{self.settings.s3_bucket}/{self.layout.root}"


def _parsed(
    key: str, data: bytes | PostgresBackupError | None
) -> tuple[str, Manifest | BadBackupError | None]:
    """A key with its manifest, with what is wrong with that, or with None where it has gone."""
    if data is None:
        return key, None
    if isinstance(data, PostgresBackupError):
        return key, unreadable(key, data)
    try:
        return key, parse(data, key)
    except BadBackupError as error:
        return key, error


def layout_for(settings: Settings, database: str) -> Layout:
    """One database: directly under the prefix; several: each under its own name."""
    return Layout(settings.s3_prefix, database if len(settings.databases) > 1 else "")


def newest_good(backups: Iterable[Backup]) -> Backup | None:
    """The newest of ours that is good."""
    return max((b for b in backups if b.ours and b.good), key=lambda b: b.taken_at, default=None)
