"""What a trusted key has signed is restored as it is; all else is refused until somebody says that
it is trusted, and what is forged whatever somebody says. Nothing is touched by a refusal.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from postgres_backup.backup.database import create_backup
from postgres_backup.backup.kit import create_kit
from postgres_backup.catalog.backups import Catalog
from postgres_backup.errors import BadBackupError, UsageError
from postgres_backup.health import listing, status
from postgres_backup.job import Job
from postgres_backup.restore.database import restore_database
from postgres_backup.restore.tables import restore_tables
from postgres_backup.s3.store import Store
from postgres_backup.signing import keys, signers
from postgres_backup.signing.keys import SigningKey
from tests.integration import engine
from tests.integration.restoring import as_superuser, databases_of
from tests.integration.taken import Taken
from tests.services.signing import put_signed

STRANGER = SigningKey(Ed25519PrivateKey.generate())


@pytest.fixture
def signed(database, config, s3_client, bucket):
    """A database that has rows which its backup lacks; see :class:`Signed`. Its first backup makes
    the server's key.
    """
    Path(config.settings.signing_key_file).unlink()
    database.execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS x")
    database.execute(f'ALTER TABLE t OWNER TO "{database.owner}"')
    taken = create_backup(Job(config.settings))
    database.execute("INSERT INTO t VALUES (1001)")
    return Signed(database, config.settings, s3_client, bucket, taken)


@dataclasses.dataclass
class Signed(Taken):
    """A signed backup, and what may be done to its objects by whoever writes to the bucket."""

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=key)

    def change(self, **fields: object) -> bytes:
        """The manifest with other fields."""
        return json.dumps(json.loads(self.get(self.manifest)) | fields).encode()

    def refused(self, kind: type[Exception], code: str, **trusting: bool) -> str:
        """By every road of a restore, and nothing is touched; what is said."""
        server, said = self.database.server, ""
        before = databases_of(server), self.database.execute("SELECT count(*) FROM t")
        name = self.taken["backup"]
        for attempt in (
            lambda job: restore_database(job, name),
            lambda job: restore_database(job, name, True),
            lambda job: restore_tables(job, name, ["t"]),
        ):
            with pytest.raises(kind) as caught:
                attempt(Job(self.settings, **trusting))
            codes = [found["code"] for found in caught.value.findings]
            assert code in codes, (code, codes, caught.value.message)
            said = f"{caught.value.message}. {caught.value.hint}"
        assert (databases_of(server), self.database.execute("SELECT count(*) FROM t")) == before
        return said


def test_signed_is_restored_without_a_word(signed):
    result = restore_database(Job(signed.settings), "latest")
    assert {found["code"] for found in result["findings"]} <= {"DISK_NOT_CHECKED"}
    assert signed.database.execute("SELECT count(*) FROM t") == [(1000,)]
    [line] = listing.look(signed.settings)["backups"]
    assert (line["signature"], line["state"]) == ("trusted", "proven")
    assert line["signed_by"] == keys.load(signed.settings).public.fingerprint


def test_stock_tools_check_it(signed, tmp_path):
    for suffix in ("", ".sig"):
        (tmp_path / f"m.json{suffix}").write_bytes(signed.get(signed.manifest + suffix))
    public = keys.load(signed.settings).public
    (tmp_path / "trusted_signers").write_text(signers.line_of("test-server", public) + "\n")
    argv = ["ssh-keygen", "-Y", "verify", "-f", "trusted_signers", "-I", "test-server"]
    argv += ["-n", "postgres-backup", "-s", "m.json.sig"]

    def run() -> int:
        with (tmp_path / "m.json").open("rb") as file:
            return subprocess.run(argv, cwd=tmp_path, stdin=file, check=False).returncode

    assert run() == 0
    (tmp_path / "m.json").write_bytes(signed.change(rows=1))
    assert run() != 0


def test_unsigned_is_refused_until_somebody_trusts_it(signed):
    signed.delete(f"{signed.manifest}.sig")
    said = signed.refused(UsageError, "UNSIGNED")
    assert "--trust-unsigned" in said
    assert "trust_unsigned=true" in said
    done = restore_database(Job(signed.settings, trust_unsigned=True), signed.taken["backup"])
    assert "UNSIGNED" in [found["code"] for found in done["findings"]]
    assert signed.database.execute("SELECT count(*) FROM t") == [(1000,)]


def test_a_stranger_is_refused_and_named(signed):
    put_signed(signed.client, signed.bucket, signed.manifest, signed.get(signed.manifest), STRANGER)
    said = signed.refused(UsageError, "SIGNED_BY_STRANGER")
    assert STRANGER.public.fingerprint in said
    restore_database(Job(signed.settings, trust_unsigned=True), signed.taken["backup"])
    assert signed.database.execute("SELECT count(*) FROM t") == [(1000,)]


FIELDS = {
    "name": "postgres-backup-2026-01-27_00-00-00.sql.gz",
    "database": "another",
    "server": {"name": "another"},
    "rows": 1,
    "sha256": "0" * 64,
    "tables": {},
    "owner": "postgres",
    "settings": [{"role": "", "setting": "work_mem=7MB"}],
    "parts": [],
    "globals": None,
    "roles": ["postgres"],
    "schema": 1,
}


@pytest.mark.parametrize("trusting", [False, True], ids=["", "trusted by hand"])
def test_what_is_signed_and_then_altered_is_forged(signed, trusting):
    """No flag helps."""
    honest = signed.get(signed.manifest)
    for field, value in FIELDS.items():
        signed.put(signed.manifest, signed.change(**{field: value}))
        said = signed.refused(BadBackupError, "SIGNATURE_WRONG", trust_unsigned=trusting)
        assert signed.taken["backup"] in said
        signed.put(signed.manifest, honest)
    signature = signed.get(f"{signed.manifest}.sig")
    for broken in (b"", b"x", signature[:-40], signature.replace(b"A", b"B", 1)):
        signed.put(f"{signed.manifest}.sig", broken)
        signed.refused(BadBackupError, "SIGNATURE_WRONG", trust_unsigned=trusting)


def test_an_altered_object_is_refused_before_a_byte_of_it_is_loaded(signed):
    body = signed.get(signed.taken["key"])
    evil = gzip.compress(b"DROP TABLE t;" + b" " * 10_000)[: len(body)].ljust(len(body), b"\0")
    signed.put(signed.taken["key"], evil)
    for trusting in (False, True):
        signed.refused(BadBackupError, "OBJECT_ALTERED", trust_unsigned=trusting)


def test_an_older_signed_manifest_in_place_of_this_one_shows(signed):
    """Two backups by one key: the older one, renamed, is not this one; nor is this server's own
    word of before, once it has said another.
    """
    older = signed.get(signed.manifest), signed.get(f"{signed.manifest}.sig")
    object_before = signed.get(signed.taken["key"])
    signed.taken = create_backup(Job(signed.settings))
    signed.put(signed.manifest, older[0])
    signed.put(f"{signed.manifest}.sig", older[1])
    signed.put(signed.taken["key"], object_before)
    for trusting in (False, True):
        signed.refused(BadBackupError, "MANIFEST_REPLACED", trust_unsigned=trusting)


def test_latest_and_the_retention_lean_on_what_is_signed(signed):
    """Whoever may write to the bucket adds a newer backup: it is listed, and passed over."""
    name = engine.forge(
        signed.client,
        signed.bucket,
        Catalog(signed.settings, Store(signed.settings), signed.database.name)
        .backups()[0]
        .taken_at.replace(year=2027),
        database=signed.database.name,
        signed=False,
    )
    lines = {line["backup"]: line for line in listing.look(signed.settings)["backups"]}
    assert lines[name]["state"] == "unsigned"
    seen = status.status(signed.settings)
    assert seen["databases"][signed.database.name]["last"]["backup"] == signed.taken["backup"]
    result = restore_database(Job(signed.settings), "latest")
    assert result["backup"] == signed.taken["backup"]


def test_a_signed_backup_that_is_gone_is_an_alarm(signed):
    for key in (signed.taken["key"], signed.manifest, f"{signed.manifest}.sig"):
        signed.delete(key)
    found = status.status(signed.settings)
    assert "SIGNED_BACKUP_GONE" in [one["code"] for one in found["findings"]]
    assert not found["healthy"]


def test_roles_with_power_of_what_nobody_vouches_for_take_a_word_of_their_own(
    signed,
):
    os.remove(Path(signed.settings.state_dir) / "signed.json")  # as on a new machine
    settings = as_superuser(_config_of(signed), signed.database.server)
    key = f"postgres-backup/globals/{signed.taken['backup']}"
    signed.put(key, gzip.compress(b"CREATE ROLE evil;\nALTER ROLE evil WITH SUPERUSER LOGIN;\n"))
    signed.put(signed.manifest, signed.change(roles=["evil"], globals={"key": key}))
    signed.delete(f"{signed.manifest}.sig")
    with pytest.raises(UsageError, match="power") as caught:
        restore_database(Job(settings, trust_unsigned=True), signed.taken["backup"])
    assert "--roles-with-power" in caught.value.hint
    assert not signed.database.server.execute("SELECT 1 FROM pg_roles WHERE rolname = 'evil'")


def _config_of(signed: Signed):
    """What :func:`as_superuser` changes."""

    class Changing:
        def change(self, **values: str):
            return dataclasses.replace(
                signed.settings, db_user=values["DB_USER"], db_password=values["DB_PASSWORD"]
            )

    return Changing()


def test_the_key_is_in_no_object_whatever_the_kit_is_made_of(signed):
    private = Path(signed.settings.signing_key_file)
    assert private.stat().st_mode & 0o777 == 0o600
    settings = dataclasses.replace(signed.settings, paths=(str(private.parent),), kit_plain=True)
    kit = create_kit(Job(settings))
    assert "KIT_KEY_LEFT_OUT" in [found["code"] for found in kit["findings"]]
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(signed.get(kit["key"])))) as tar:
        names = {os.path.basename(name) for name in tar.getnames()}
    assert {"signing.key.pub", "trusted_signers"} <= names
    assert "signing.key" not in names
    lines = private.read_text().splitlines()[1:-1]
    for key in engine.keys(signed.client, signed.bucket):
        body = signed.get(key)
        plain = gzip.decompress(body) if key.endswith(".gz") else body
        assert not any(line.encode() in plain for line in lines), key
