"""Names of backups, of their parts, and of the objects beside them; pure, no I/O.

A whole-database backup is called ``postgres-backup-<UTC time><suffix>`` and lies directly under its
prefix. Everything else lies under sub-prefixes, so that a plain listing of the prefix shows
whole-database backups and nothing else.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import urllib.parse
from collections.abc import Iterable
from datetime import datetime

from ..clock import format_time, parse_time

STEM = "postgres-backup-"
#: asked for instead of a name: the newest
LATEST = "latest"
#: letters of a partial backup's name that tell its tables; many stores allow 255 for a whole name
LONGEST_PART = 150
#: suffix of an object -> (format, compression)
SUFFIXES = {
    ".sql.gz": ("plain", "gzip"),
    ".sql.zst": ("plain", "zstd"),
    ".sql": ("plain", "none"),
    ".dump": ("custom", "none"),
}
#: what lies beside the backups under a prefix
_RESERVED = ("manifests", "globals", "partial", "journal", "kit", "report", "proofs")
_NAME = re.compile(
    r"postgres-backup-(?P<time>\d{4}-\d{2}-\d{2}_\d{2}-\d{2}-\d{2})"
    r"(?P<suffix>\.sql\.gz|\.sql\.zst|\.sql|\.dump)(?P<age>\.age)?",
    re.ASCII,
)
#: what a part of a name needs to mean one: a month and a day at least
_DATED = re.compile(r"(?<![0-9])[0-9]{2}-[0-9]{2}(?![0-9])")
_PART = re.compile(
    r"(?P<stem>postgres-backup-[0-9_-]+)\.(?P<part>[A-Za-z0-9_.~+%-]{1,200}?)"
    r"(?P<suffix>(?:\.sql\.gz|\.sql\.zst|\.sql|\.dump)(?:\.age)?)",
    re.ASCII,
)


@dataclasses.dataclass(frozen=True)
class BackupName:
    """The name of a backup, of a whole database or of a part; as text, names order as their times
    do.

    :param taken_at: when the snapshot was taken, UTC, whole seconds.
    :param suffix: one of :data:`SUFFIXES`.
    :param encrypted: the object ends in ``.age``.
    :param part: of which part of a database it is, as it stands in the name; empty: of all of it.
    """

    taken_at: datetime
    suffix: str = ".sql.gz"
    encrypted: bool = False
    part: str = ""

    @classmethod
    def parse(cls, text: str) -> BackupName | None:
        """The name in ``text``, or None where it is not exactly one (a date that does not exist is
        none).
        """
        match = _NAME.fullmatch(text)
        if not match:
            return None
        try:
            taken_at = parse_time(match["time"])
        except ValueError:
            return None
        return cls(taken_at, match["suffix"], bool(match["age"]))

    @classmethod
    def parse_part(cls, text: str) -> BackupName | None:
        """The name of a part in ``text``, or None where it is not exactly one."""
        match = _PART.fullmatch(text)
        whole = cls.parse(match["stem"] + match["suffix"]) if match else None
        return dataclasses.replace(whole, part=match["part"]) if match and whole else None

    @classmethod
    def of(
        cls, taken_at: datetime, format: str, compression: str, encrypted: bool = False
    ) -> BackupName:
        """The name for a backup taken then in a format (plain, custom) and compression (gzip,
        zstd).
        """
        wanted = ("custom", "none") if format == "custom" else (format, compression)
        suffix = next(s for s, kind in SUFFIXES.items() if kind == wanted)
        return cls(taken_at, suffix, encrypted)

    def __str__(self) -> str:
        part = f".{self.part}" if self.part else ""
        return self.stem + part + self.suffix + (".age" if self.encrypted else "")

    def of_part(self, what: str) -> BackupName:
        """The name of a part of that time. ``what``: ``schema``, or the chosen tables joined by
        ``+``; cut where it is too long (the manifest has all of it).
        """
        safe = urllib.parse.quote(what, safe="-_.~+")
        if len(safe) > LONGEST_PART:
            safe = re.sub(r"%.?$", "", safe[:LONGEST_PART]) + "~"
        return dataclasses.replace(self, part=safe)

    @functools.cached_property  # a listing tells the name of each backup a dozen times
    def stem(self) -> str:
        """The name without suffixes; its manifest and globals are called after it."""
        return STEM + format_time(self.taken_at)

    @property
    def format(self) -> str:
        return SUFFIXES[self.suffix][0]

    @property
    def compression(self) -> str:
        return SUFFIXES[self.suffix][1]


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where the objects of one database lie.

    :param prefix: the prefix of the settings, without slashes at its ends.
    :param database: the database's name, set only where several databases share the prefix; letters
        that S3 keys should not hold are percent-encoded.
    """

    prefix: str
    database: str = ""

    @functools.cached_property  # asked for with each key
    def root(self) -> str:
        """The prefix of this database's objects, ending in ``/`` (empty for the bucket's root)."""
        parts = [self.prefix.strip("/")] if self.prefix.strip("/") else []
        if self.database:
            parts.append(_folder(self.database))
        return "/".join(parts) + "/" if parts else ""

    def backup(self, name: BackupName) -> str:
        return self.root + ("partial/" if name.part else "") + str(name)

    def manifest(self, name: BackupName) -> str:
        """A part's lies beside it, not among those of whole backups."""
        if name.part:
            return f"{self.backup(name)}.json"
        return f"{self.root}manifests/{name.stem}.json"

    def proof(self, name: BackupName, at: datetime) -> str:
        """``at``: when it was proven."""
        return f"{self.root}proofs/{name.stem}-{format_time(at)}.json"

    def globals(self, name: BackupName) -> str:
        return f"{self.root}globals/{name.stem}.sql.gz" + (".age" if name.encrypted else "")

    def partial(self, name: BackupName, what: str) -> str:
        """``what``: as for :meth:`BackupName.of_part`."""
        return self.backup(name.of_part(what))

    def journal(self, at: datetime, event: str) -> str:
        return f"{self.root}journal/{format_time(at)}-{event}.json"

    @property
    def report(self) -> str:
        """The page that ``playbooks/report.yml`` publishes, one for the whole inventory."""
        return f"{self.root}report/report.html"


def own_folder(prefix: str, server: str) -> str:
    """The prefix of a server that has a folder of its own among others.

    :param prefix: of all of them, without slashes at its ends.
    """
    return f"{prefix.strip('/')}/{_folder(server)}".lstrip("/")


def shared_prefix(prefix: str, server: str) -> str:
    """The prefix of all servers where this is that of a server's own folder; else the same. What
    lies beside a prefix (``-pitr``, ``-rehearsal``, ``-recovered``) is named after it, so that it
    stays where it is when a server moves into its folder, and lies in nobody's listing.
    """
    whole = prefix.strip("/")
    head, slash, last = whole.rpartition("/")
    return head if slash and server and last == _folder(server) else whole


def is_latest(wanted: str) -> bool:
    """Whether the newest backup is asked for, in letters of any size."""
    return wanted.strip().lower() == LATEST


def named_in_part(wanted: str, names: Iterable[str]) -> list[str]:
    """The names that a part of one means, such as its day: ``2026-11-22``, ``2026-11-22 03:00``.

    :param wanted: with something of a date; a whole name, or words that any name has, mean none.
    """
    part = wanted.strip()
    if BackupName.parse(part) or BackupName.parse_part(part) or not _DATED.search(part):
        return []
    part = re.sub(r"[ T](?=[0-9])", "_", part).replace(":", "-")
    return [name for name in names if part in name]


def _folder(database: str) -> str:
    """A database's name as a part of a key that is none of ours: not ``globals``, whose objects are
    called like backups, nor ``.`` or ``..``.
    """
    if database in _RESERVED or not database.strip("."):
        return f"%{ord(database[0]):02X}" + database[1:]
    return urllib.parse.quote(database, safe="-_.~")
