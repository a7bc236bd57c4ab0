"""A bucket in memory, of a server that signs what it puts there, and the roads that lead to it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from postgres_backup.catalog import manifest, remembered
from postgres_backup.catalog.backups import Backup, Catalog
from postgres_backup.catalog.names import BackupName, Layout
from postgres_backup.catalog.retention import Policy, plan
from postgres_backup.clock import format_timestamp, utc_now
from postgres_backup.errors import DatabaseError
from postgres_backup.health import rows_gone, status
from postgres_backup.job import Job
from postgres_backup.nightly.adopt import adopt_backups
from postgres_backup.restore.database import restore_database
from postgres_backup.restore.steps import load_step
from postgres_backup.restore.tables import restore_tables
from postgres_backup.settings import Settings
from postgres_backup.signing import keys
from postgres_backup.signing.keys import SigningKey
from postgres_backup.verify.verify import verify_backup
from tests import hostile
from tests.unit.listed import Listed

BODY = b"1234567"
NOW = datetime.now(timezone.utc).replace(microsecond=0)
OLDER, NEWEST = NOW - timedelta(days=2), NOW - timedelta(hours=2)
#: what uses nothing of a backup that nobody trusts
RESTORES: dict[str, Callable[[Job, str], object]] = {
    "restore": restore_database,
    "restore in place": lambda job, name: restore_database(job, name, True),
    "restore of tables": lambda job, name: restore_tables(job, name, ["t"]),
    "playbook": load_step,
}
#: and what vouches for nothing that is forged
ROADS = RESTORES | {
    "verify": verify_backup,
    "adopt": lambda job, name: adopt_backups(job, [name]),
}


@dataclasses.dataclass
class Bucket:
    """The bucket of a server that has signed two backups; its PostgreSQL does not answer."""

    settings: Settings
    store: Listed
    key: SigningKey

    def name(self, at: datetime) -> BackupName:
        return BackupName(at, ".sql.gz", False)

    def manifest(self, at: datetime, folder: str = "") -> str:
        return Layout("postgres-backup", folder).manifest(self.name(at))

    def take(self, at: datetime, signer: SigningKey | None = None, **fields: object) -> bytes:
        """A backup with its manifest, signed; what the manifest says."""
        layout, name = Layout("postgres-backup", str(fields.pop("folder", ""))), self.name(at)
        digest = hashlib.sha256(BODY).hexdigest()
        facts = {
            "name": str(name),
            "database": "school",
            "server": {"name": "school-db"},
            "started_at": format_timestamp(at),
            "bytes": len(BODY),
            "dump_bytes": 1,
            "rows": 1,
            "sha256": digest,
            "tables": {"public.t": {"rows": 1, "bytes": 2, "sha256": digest}},
            "parts": [{"bytes": len(BODY), "sha256": digest}],
            "globals": {"key": layout.globals(name), "bytes": 7, "sha256": digest},
        }
        data = manifest.dump(facts | fields)  # type: ignore[arg-type]  # tests forge it
        key = layout.manifest(name)
        self.store.objects |= {layout.backup(name): BODY, layout.globals(name): BODY}
        self.store.objects |= {key: data, f"{key}.sig": (signer or self.key).sign(data)}
        return data

    def remember(self, at: datetime, data: bytes) -> None:
        """As a backup does."""
        sha256 = hashlib.sha256(data).hexdigest()
        assert remembered.note(self.settings, "school", self.manifest(at), sha256) == []

    def forget(self) -> None:
        """As a new machine with the same key."""
        remembered.forget(self.settings, "school", list(self.store.objects))

    def job(self, **wanted: bool) -> Job:
        made = Job(self.settings, "school", **wanted)
        made.__dict__["store"] = self.store
        return made

    def backups(self) -> list[Backup]:
        return Catalog(self.settings, self.store, "school").backups()  # type: ignore[arg-type]

    def backup(self, at: datetime) -> Backup:
        return next(b for b in self.backups() if b.taken_at == at)

    def ends(
        self,
        kind: type[Exception],
        code: str,
        asked: str = "",
        roads: dict[str, Callable[[Job, str], object]] = RESTORES,
        words: tuple[bool, ...] = (False, True),
        checks: tuple[bool, ...] = (False, True),
    ) -> None:
        """By each of these roads; and nothing is changed.

        :param words: with ``--trust-unsigned``, or without.
        :param checks: only planned, or not.
        """
        before, asked = dict(self.store.objects), asked or str(self.name(NEWEST))
        for road, go in roads.items():
            for check in checks:
                for word in words:
                    with pytest.raises(kind) as caught:
                        go(self.job(check=check, trust_unsigned=word), asked)
                    codes = [found["code"] for found in caught.value.findings]
                    assert codes == [code], (road, check, word, codes, caught.value.message)
        assert self.store.objects == before

    def told(self) -> tuple[bool, set[str]]:
        """What ``status`` makes of it: healthy or not, and the codes."""
        kept = {"school": DatabaseError("it does not answer", "")}
        seen = status.bucket_status(self.settings, {"school": self.backups()}, utc_now(), kept)
        return seen["healthy"], {found["code"] for found in seen["findings"]}

    def stay(self, policy: Policy, days: int) -> list[datetime]:
        """What a prune in so many days lets lie, the newest first."""
        backups, then = self.backups(), utc_now() + timedelta(days=days)
        held = rows_gone.holding("school-db", "school", backups, then)
        return [d.backup.taken_at for d in plan(backups, policy, then, held) if d.keep]


def new_bucket(folder: Path) -> Bucket:
    """Of a server whose keys and state lie in a folder."""
    (folder / "etc").mkdir()
    settings = dataclasses.replace(
        hostile.SETTINGS,
        db_host="127.0.0.1",
        db_port=1,
        state_dir=str(folder / "state"),
        signing_key_file=str(folder / "etc/signing.key"),
        trusted_signers_file=str(folder / "etc/trusted_signers"),
    )
    return Bucket(settings, Listed({}, settings), keys.load_or_make(settings)[0])


def stranger() -> SigningKey:
    return SigningKey(Ed25519PrivateKey.generate())
