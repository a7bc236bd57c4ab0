"""What the bucket holds, from the bucket alone: listings joined with manifests."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypedDict

from ..clock import utc_now
from ..errors import BadBackupError, UsageError
from ..findings import Finding, finding
from ..machine import identity
from ..machine.identity import Mark
from ..s3.client import StoredObject
from ..s3.store import Store, Unreadable
from ..settings import Settings
from ..shapes.reader import MOST_BYTES
from ..signing.judge import BY_NOBODY, WRONG, Standing
from ..text import nearest
from . import dated, partials, proofs, remembered, said, servers, signed
from .backup import Backup, BackupLine, State
from .listed_once import Listings
from .manifest import listed_only, may_lack_rows, parse
from .names import LATEST, BackupName, Layout, is_latest, named_in_part, own_folder
from .owners import advice, owners_near
from .reading import NOTHING, Found, Manifests

#: whoever asks for backups gets to know here what one is
__all__ = ["LATEST", "Backup", "BackupLine", "Catalog", "State", "layout_for", "newest_good"]

#: objects directly under a prefix that are looked at: a backup a quarter of an hour, for two years
_MOST_BACKUPS = 100_000
#: backups of which one is meant, that a message names
_MOST_NAMED = 5
#: what is wrong with a backup of which nothing can be known
UNREAD = ("MANIFEST_UNREADABLE", "MANIFEST_DAMAGED")
#: proofs without a backup that one prune looks at
_MOST_LEFT = 1000


class Catalog:
    """The backups of one database.

    :param database: one of the settings' databases.
    :param own: the server that asks, to tell its backups from those of another one of the same
        name; None: the one of which the last backup was taken from here.
    :param listings: what this look has listed already; None: each question lists anew.
    :param servers: whose own folders under the prefix are read too; None: that of the settings.
    :ivar listings: those of the last :meth:`backups`.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        database: str,
        own: Mark | None = None,
        listings: Listings | None = None,
        servers: Collection[str] | None = None,
    ) -> None:
        self.settings, self.store, self.database = settings, store, database
        self.own = identity.remembered(settings) if own is None else own
        self.believed = signed.Believed.by(settings)
        self._shared = listings
        self.listings = listings or Listings(store)
        self._remembered = remembered.look(settings, database)
        self._said = said.Said()
        self.layout = layout_for(settings, database)
        self.layouts = _layouts(settings, database, servers)
        #: what the last :meth:`resolve` of ``latest`` has passed over
        self.unread: list[Finding] = []
        self._lonely: list[tuple[Layout, str]] = []
        self._lonely_proofs: list[tuple[Layout, str]] = []

    def backups(self) -> list[Backup]:
        """Every whole-database backup under the prefix, newest first; those of others too, marked
        as such.
        """
        self._lonely, self._lonely_proofs, self._said = [], [], said.Said()
        self.listings = self._shared or Listings(self.store)
        found = (backup for layout in self.layouts for backup in self._under(layout))
        backups = self._told_apart(_each_once(found))
        return sorted(backups, key=lambda backup: (backup.dated_at, backup.key), reverse=True)

    def _told_apart(self, backups: list[Backup]) -> list[Backup]:
        """Those of another server with our name are not ours, whatever their manifests say."""
        named = [number for number, backup in enumerate(backups) if backup.ours]
        patience = timedelta(hours=self.settings.fresh_hours)
        wrote = [
            servers.Wrote(b.dated_at, b.mark, self._adopter(b), b.since)
            for b in (backups[n] for n in named)
        ]
        judged = servers.judge(self.own, wrote, utc_now(), patience)
        for number, verdict in zip(named, judged, strict=True):
            backup = backups[number]
            ours = verdict.whose is None
            held = f"not ours: {verdict.whose} took it" if verdict.whose else verdict.held
            if backup.forged:
                held = "its signature is wrong"
            backups[number] = dataclasses.replace(
                backup,
                ours=ours,
                candidate=ours,
                whose=verdict.whose,
                untold=verdict.untold,
                held=held,
                meant=self._said.meant(backup.dated_at),
            )
        # once this server signs, whoever may write to the bucket cannot add to what it leans on,
        # nor make it forget by taking the signatures away
        if self._remembered or any(backup.ours and backup.trusted for backup in backups):
            backups = [
                dataclasses.replace(b, passed_over=True) if b.ours and not b.trusted else b
                for b in backups
            ]
        return backups

    def _adopter(self, backup: Backup) -> str:
        """The server that adopted it last; empty where none did."""
        names = (backup.mark.identifier, backup.mark.machine)
        told = [a for a in self._said.adopted if a.theirs in names and backup.dated_at <= a.at]
        return max(told, key=lambda adoption: adoption.at).ours if told else ""

    def _under(self, layout: Layout) -> list[Backup]:
        objects = {}
        for item in self.listings.folder(layout.root, _MOST_BACKUPS).objects:
            name = BackupName.parse(item.key[len(layout.root) :])
            if name:
                objects[name] = item
        manifests_at = self.listings.below(layout.root + "manifests/", _MOST_BACKUPS)
        below = {item.key for item in manifests_at}
        told = {key for key in below if said.is_said(layout.root, key)}
        keys = {key for key in below - told if not key.endswith(signed.SUFFIX)}
        whose = (self.settings.server_name, self.database)
        good = said.vouched(self.store, layout.root, told, below, self.believed)
        self._said = said.both(self._said, said.read(good, layout.root, *whose))
        wanted = {layout.manifest(name) for name in objects}
        self._lonely += [(layout, key) for key in keys - wanted]
        there = self.joined(layout, objects, below)
        noted = self._proofs(layout, {name.stem for name in objects}, keys & wanted)
        return [
            dataclasses.replace(backup, noted=noted[backup.name.stem])
            if backup.name.stem in noted
            else backup
            for backup in there
        ]

    def joined(
        self,
        layout: Layout,
        objects: Mapping[BackupName, StoredObject],
        below: Collection[str],
        afresh: bool = False,
    ) -> list[Backup]:
        """Those objects, each with what its manifest says.

        :param below: the keys that a listing shows where their manifests lie.
        :param afresh: they are read, whatever is remembered of them.
        """
        wanted = {layout.manifest(name) for name in objects}.intersection(below)
        reading = Manifests(self.store, self.listings.summaries, self.believed)
        manifests = reading.found(wanted, below, afresh)
        for name in list(objects):
            key = layout.manifest(name)
            if key in wanted and manifests[key].manifest is None:
                if self.store.head(layout.backup(name)) is None:  # both have gone meanwhile
                    objects = {other: item for other, item in objects.items() if other != name}
                else:
                    manifests[key] = NOTHING._replace(manifest=listed_only(key))
        return [
            self._join(layout, name, item, manifests.get(layout.manifest(name), NOTHING))
            for name, item in objects.items()
        ]

    def _proofs(
        self, layout: Layout, stems: Collection[str], described: Collection[str]
    ) -> dict[str, proofs.Noted]:
        """The proofs of the backups that have a manifest; those of none are remembered."""
        there = proofs.listed(self.listings, layout)
        lonely = there.keys.keys() - stems
        self._lonely_proofs += [(layout, key) for stem in lonely for key in there.keys[stem]]
        known = {stem for stem in stems if f"{layout.root}manifests/{stem}.json" in described}
        return proofs.look(self.store, there, known, self.believed)

    def _join(
        self,
        layout: Layout,
        name: BackupName,
        item: StoredObject,
        found: Found,
    ) -> Backup:
        here = layout == self.layout or layout.database == self.database
        manifest = found.manifest
        seen = _Seen(modified=item.modified, manifest_sha256=found.sha256, standing=found.standing)
        if manifest is None:
            return Backup(name, layout, item.bytes, candidate=here, **seen)
        if isinstance(manifest, BadBackupError):
            return Backup(
                name,
                layout,
                item.bytes,
                problem=manifest.message,
                problem_code=manifest.findings[0]["code"],
                candidate=here,
                **seen,
            )
        problem = code = ""
        expected = self._remembered.get(layout.manifest(name), found.sha256)
        if found.standing.kind == WRONG:
            problem, code = f"its signature is wrong: {found.standing.says}", "SIGNATURE_WRONG"
        elif expected != found.sha256:
            problem = "its manifest is another than the one that this server has signed"
            code = "MANIFEST_REPLACED"
        elif manifest["name"] != str(name):
            problem, code = f"its manifest is for {manifest['name']}", "MANIFEST_OF_ANOTHER"
        elif bool(manifest.get("partial")) != bool(name.part):
            problem = "its manifest is for " + ("all of a database" if name.part else "a part")
            code = "MANIFEST_OF_ANOTHER"
        elif layout.database not in ("", manifest["database"]):
            problem = f"its manifest is for the database {manifest['database']}"
            code = "MANIFEST_OF_ANOTHER"
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
        whose = (manifest, problem, code, ours, ours or unclaimed)
        read, columns = found.read, found.tables
        return Backup(name, layout, item.bytes, *whose, read=read, columns=columns, **seen)

    def described(self) -> frozenset[str]:
        """Keys of manifests whose backup is not there, as of the last :meth:`backups`."""
        return frozenset(key for _, key in self._lonely)

    def leftovers(self) -> list[str]:
        """Keys of proofs, globals and manifests of ours whose backup is gone, for a prune was cut
        short. As of the last :meth:`backups`; in the order to delete them.

        A prune forgets what it deletes before it does; what is remembered somebody else has
        deleted, and may be brought back by whoever runs the store.
        """
        keys = []
        for layout, key in sorted(self._lonely, key=lambda pair: pair[1]):
            if self._is_missed(key):
                continue
            if name := self.gone(layout, key, BackupName.parse):
                keys += [layout.globals(name), *signed.each_after_its_signature([key])]
        return self._leftover_proofs() + keys

    def _is_missed(self, manifest: str) -> bool:
        """Whether somebody else has deleted the backup of a manifest, and was not meant to."""
        return self.settings.prune_nightly and manifest in self._remembered

    def gone(
        self, layout: Layout, key: str, parse_name: Callable[[str], BackupName | None]
    ) -> BackupName | None:
        """The name of the backup of ours that a manifest describes, if its object is gone; None
        where it has come since, where it is another's, or where that cannot be told.

        :param key: of the manifest.
        :param parse_name: reads the name of a whole backup, or of a part.
        """
        try:
            manifest = parse(self.store.get(key, MOST_BYTES) or b"", key)
        except Unreadable:
            return None
        name = parse_name(manifest["name"])
        whose = (manifest["database"], manifest["server"].get("name"))
        ours = (self.database, self.settings.server_name)
        if name is None or layout.manifest(name) != key or whose != ours:
            return None
        return name if self.store.head(layout.backup(name)) is None else None

    def _leftover_proofs(self) -> list[str]:
        keys = []
        for layout, key in sorted(self._lonely_proofs, key=lambda pair: pair[1])[:_MOST_LEFT]:
            proof = proofs.read_one(self.store, key)
            name = BackupName.parse(proof["backup"]) if proof else None
            if proof is None or name is None:  # whose it is cannot be told
                continue
            ours = (self.database, self.settings.server_name)
            if (proof["database"], proof["server"]) != ours or f"/{name.stem}-" not in f"/{key}":
                continue
            if self._is_missed(layout.manifest(name)):
                continue
            if self.store.head(layout.backup(name)) is None:  # it may have come after the listing
                keys.append(key)
        return signed.each_after_its_signature(keys)

    def resolve(self, wanted: str) -> Backup:
        """The backup of that name, or the newest of this database for ``latest``. A part of a name
        that only one has (its day) is enough; every result says which that is.

        Where some are ours, ``latest`` is one of them: an object without a manifest under the same
        prefix may be another job's. It may be a bad one: whoever asks for the latest must hear of
        that, and not silently get an older one. What a clock that was ahead has named is it only
        where all are so.

        :raises UsageError: there is none; names the three nearest. Or several have that part in
            their names, or two servers write under our name, and which one is meant cannot be told.
        """
        backups = self.backups()
        while True:
            chosen = self._meant(wanted, backups)
            now = self._afresh(chosen)
            if now is chosen or not (is_latest(wanted) and _is_unread(now)):
                return now
            backups = [now if backup is chosen else backup for backup in backups]

    def _afresh(self, known: Backup) -> Backup:
        """The same with its manifest as it lies there now: what is remembered of it is no proof."""
        if not known.manifest_sha256 or known.modified is None:
            return known
        key = known.layout.manifest(known.name)
        below = {key} if known.standing == BY_NOBODY else {key, key + signed.SUFFIX}
        item = StoredObject(known.key, known.bytes, known.modified)
        for now in self.joined(known.layout, {known.name: item}, below, afresh=True):
            same = (now.manifest_sha256, now.standing) == (known.manifest_sha256, known.standing)
            return dataclasses.replace(
                known,
                described=now.described,
                columns=now.columns,
                read=now.read,
                manifest_sha256=now.manifest_sha256,
                standing=now.standing,
                problem=(not same and now.problem) or known.problem,
                problem_code=(not same and now.problem_code) or known.problem_code,
            )
        return known

    def _meant(self, wanted: str, backups: list[Backup]) -> Backup:
        if is_latest(wanted):
            certain = [b for b in backups if self._must_answer(b)]
            newest = (
                _first([b for b in certain if not _is_unread(b)])
                or _first(certain)
                or _first([b for b in backups if b.ours])
                or _first([b for b in backups if b.candidate])
            )
            if newest and newest.untold:
                raise self._ambiguous([b for b in backups if b.untold])
            if newest:
                self.unread = self._newer_unread(backups, newest)
                return newest
            raise UsageError(
                f"There is no backup of {self.database} of {self.settings.server_name} "
                f"under {self._where()}",
                advice(owners_near(self.settings, self.store, self.listings))
                or "Take one: postgres-backup backup (or `ansible-playbook playbooks/backup.yml`)",
            )
        wanted_name = wanted.rsplit("/", 1)[-1]
        if BackupName.parse_part(wanted_name):
            backups = partials.look(self, backups).parts
        for backup in backups:
            if wanted_name == str(backup.name) and wanted in (
                str(backup.name),
                backup.key,
                f"s3://{self.settings.s3_bucket}/{backup.key}",
            ):
                return backup
        own = {str(b.name): b for b in backups if b.candidate}
        meant = named_in_part(wanted, own)
        if len(meant) == 1:
            return own[meant[0]]
        if meant:
            more = f" and {len(meant) - _MOST_NAMED} more" if len(meant) > _MOST_NAMED else ""
            raise UsageError(
                f"{wanted!r} means {len(meant)} backups under {self._where()}: "
                + ", ".join(meant[:_MOST_NAMED])
                + more,
                "Name one of them",
            )
        near = nearest(wanted, own)
        hint = (
            "The nearest: " + ", ".join(near)
            if near
            else "There are none of this database; `postgres-backup list` shows what there is, "
            "`postgres-backup list --partial` the parts"
        )
        raise UsageError(f"There is no backup {wanted!r} under {self._where()}", hint)

    def _newer_unread(self, backups: Iterable[Backup], chosen: Backup) -> list[Finding]:
        """Backups that may be newer than the latest that can be read; one sentence each."""
        return [
            finding(
                backup.problem_code,
                f"{backup.name} is newer than {chosen.name}, and is passed over: {backup.problem}",
            )
            for backup in backups
            if _is_unread(backup)
            and backup.candidate
            and backup.key != chosen.key
            and backup.dated_at > chosen.dated_at
        ]

    def _must_answer(self, backup: Backup) -> bool:
        """Whoever asks for the latest must hear of it: it is signed, or forged, or this server
        remembers that it has signed what lay there, whatever lies there now.
        """
        known = backup.layout.manifest(backup.name) in self._remembered
        return known or (backup.ours and (backup.trusted or backup.forged))

    def _ambiguous(self, backups: list[Backup]) -> UsageError:
        newest = {(b.mark.identifier, b.mark.machine): b for b in reversed(backups)}
        told = "; ".join(f"{b.name} of {b.mark}" for b in list(newest.values())[:5])
        sentence = (
            f"Two servers write backups of {self.database} under the name "
            f"{self.settings.server_name}, and which of them this one is cannot be told"
        )
        return UsageError(
            f"{sentence}. The newest: {told}",
            "Name the backup that is meant: postgres-backup list",
            [finding("TWO_SERVERS", sentence, database=self.database)],
        )

    def _where(self) -> str:
        return f"s3://{self.settings.s3_bucket}/{self.layout.root}"


class _Seen(TypedDict):
    """What is known of every backup, whatever lies under the key of its manifest."""

    modified: datetime | None
    manifest_sha256: str
    standing: Standing


def _is_unread(backup: Backup) -> bool:
    """Nothing can be known of it. What has a signature of other bytes is no accident: whoever wants
    the latest must hear of it.
    """
    return backup.problem_code in UNREAD and not backup.forged


def layout_for(settings: Settings, database: str) -> Layout:
    """One database: directly under the prefix; several: each under its own name."""
    return Layout(settings.s3_prefix, database if len(settings.databases) > 1 else "")


def _layouts(
    settings: Settings, database: str, folders_of: Collection[str] | None
) -> tuple[Layout, ...]:
    """Where backups of a database may lie: also where they were while the settings named fewer
    databases, or more; and in the own folders of servers, where the settings name the prefix of
    all of them. Those that are not there cost no request.
    """
    if folders_of is None:
        folders_of = [settings.server_name] if settings.server_name else []
    own = [own_folder(settings.s3_prefix, server) for server in folders_of]
    prefixes = dict.fromkeys((settings.s3_prefix.strip("/"), *own))
    there: dict[str, Layout] = {}
    for prefix in prefixes:
        for name in ("", database):
            layout = Layout(prefix, name)
            there.setdefault(layout.root, layout)  # a server may be called as a database is
    return tuple(there.values())


def _each_once(backups: Iterable[Backup]) -> list[Backup]:
    """Of a backup that lies at two places, since its server is moving, the first that is good."""
    seen: dict[tuple[BackupName, str], Backup] = {}
    for backup in backups:
        # without a manifest nothing says that it is the same
        known = (backup.name, backup.manifest_sha256 or backup.key)
        if known not in seen or (seen[known].problem and not backup.problem):
            seen[known] = backup
    return list(seen.values())


def newest_good(backups: Iterable[Backup]) -> Backup | None:
    """The newest of ours that is good; what a clock that was ahead has named is none."""
    return dated.newest(b for b in backups if b.ours and b.good)


def _first(newest_first: Sequence[Backup]) -> Backup | None:
    return next(iter(dated.timely(newest_first)), None)
