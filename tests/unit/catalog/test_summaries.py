"""Manifests in short: a look with them says what a look without them says, whatever becomes of the
file, and reads nothing that has not changed.
"""

from __future__ import annotations

import json
import random
from datetime import timedelta
from pathlib import Path

import pytest

from postgres_backup.catalog import summaries
from postgres_backup.catalog.backup import Backup
from postgres_backup.catalog.backups import Catalog
from postgres_backup.catalog.manifest import parse
from postgres_backup.catalog.summaries import NAME
from postgres_backup.clock import format_timestamp
from postgres_backup.errors import BadBackupError
from postgres_backup.signing import signers
from postgres_backup.signing.keys import rotate
from tests.damaged import spoil
from tests.unit.signed_bucket import NEWEST, NOW, Bucket, new_bucket, stranger

OTHER = stranger()


@pytest.fixture
def bucket(tmp_path) -> Bucket:
    """Ten backups, of which each is in another way."""
    made = new_bucket(tmp_path)
    Path(made.settings.state_dir).mkdir()
    trusted = signers.line_of("school-db", OTHER.public)
    Path(made.settings.trusted_signers_file).write_text(trusted + "\n")

    def take(days: int, **fields: object) -> str:
        made.take(NOW - timedelta(days=days), **fields)
        return made.manifest(NOW - timedelta(days=days))

    made.take(NEWEST)
    take(1)
    del made.store.objects[take(2) + ".sig"]
    take(3, signer=OTHER)
    take(4, signer=stranger())
    made.store.objects[take(5) + ".sig"] = b"no signature"
    take(6, bytes=8, parts=[{"bytes": 8, "sha256": "0" * 64}])
    take(7, rewritten=["public.t"], needs_search_path=[])
    proof = {"kind": "verify", "at": format_timestamp(NOW)}
    take(8, schema=1, proofs=[proof], locale={"collate": "C", "ctype": "C"})
    made.store.objects[take(9)] = b"{"
    take(10, tables={}, rows=0, server={"name": "other"})
    return made


def seen(bucket: Bucket) -> list[tuple[object, ...]]:
    """All that a look says of each."""
    return [
        (
            *(b.describe(NOW), b.standing, b.problem_code, b.held, b.mark, b.passed_over),
            *(b.tables.names, list(b.tables.rows), b.tables.hashes, b.manifest_sha256),
        )
        for b in bucket.backups()
    ]


def read_by(bucket: Bucket) -> set[str]:
    """Which manifests a look reads."""
    bucket.store.read.clear()
    bucket.backups()
    return {key for key in bucket.store.read if key.endswith(".json")}


def file_of(bucket: Bucket) -> Path:
    return Path(bucket.settings.state_dir) / NAME


def test_a_look_reads_what_has_changed_and_says_the_same(bucket):
    fresh, damaged = seen(bucket), {bucket.manifest(NOW - timedelta(days=9))}
    assert {line[0]["state"] for line in fresh} == {"good", "proven", "bad", "unsigned", "foreign"}
    assert {line[1].kind for line in fresh} == {"trusted", "unsigned", "stranger", "wrong"}
    assert read_by(bucket) == damaged, "what is no manifest has no summary"
    assert seen(bucket) == fresh
    bucket.take(NEWEST, rows=2)
    assert read_by(bucket) == damaged | {bucket.manifest(NEWEST)}
    assert file_of(bucket).stat().st_mode & 0o777 == 0o600
    file_of(bucket).unlink()
    after = seen(bucket)
    assert [line[0]["rows"] for line in after][:2] == [2, 1]
    assert after[1:] == fresh[1:]


def test_another_signature_of_the_same_manifest_is_another(bucket):
    before = seen(bucket)
    key = bucket.manifest(NEWEST)
    bucket.store.objects[f"{key}.sig"] = stranger().sign(bucket.store.objects[key])
    assert bucket.backup(NEWEST).standing.kind == "stranger"
    del bucket.store.objects[f"{key}.sig"]
    assert bucket.backup(NEWEST).standing.kind == "unsigned"
    bucket.store.objects[f"{key}.sig"] = bucket.key.sign(bucket.store.objects[key])
    assert seen(bucket) == before


def test_whom_to_believe_is_asked_at_each_look(bucket):
    third = NOW - timedelta(days=3)
    assert bucket.backup(third).standing.kind == "trusted"
    Path(bucket.settings.trusted_signers_file).write_text("")
    assert bucket.manifest(third) not in read_by(bucket)
    assert bucket.backup(third).standing.kind == "stranger"


def test_whatever_becomes_of_the_file_the_look_says_the_same(bucket):
    """Bytes overwritten, cut and inserted, by a fixed seed."""
    fresh, chance = seen(bucket), random.Random(21)
    whole, path, lost = file_of(bucket).read_bytes(), file_of(bucket), 0
    for _ in range(15):
        spoiled = bytearray(whole)
        spoil(chance, spoiled)
        path.write_bytes(spoiled)
        lost += len(read_by(bucket)) > 1
        path.write_bytes(spoiled)
        assert seen(bucket) == fresh
    assert lost > 12


def test_what_this_server_has_not_written_is_not_believed(bucket, tmp_path):
    """A file that says of an unsigned manifest that a trusted key has signed it, made by somebody
    who knows the program and the secret of the store, and not the key of the server.
    """
    fresh = seen(bucket)
    (tmp_path / "theirs").mkdir()
    theirs = new_bucket(tmp_path / "theirs")
    Path(theirs.settings.state_dir).mkdir()
    theirs.store.objects = bucket.store.objects
    honest = summaries.Summary

    def lying(*facts: object) -> summaries.Summary:
        return honest(*facts[:3], bucket.key.public.raw, "")  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("postgres_backup.catalog.reading.Summary", lying)
        theirs.backups()
    file_of(bucket).write_bytes(file_of(theirs).read_bytes())
    assert len(read_by(bucket)) > 9, "all is read again"
    assert seen(bucket) == fresh


def test_a_new_key_of_the_server_costs_one_reading(bucket):
    fresh = seen(bucket)
    rotate(bucket.settings)
    assert len(read_by(bucket)) > 9
    assert len(read_by(bucket)) == 1
    assert [line[0]["state"] for line in seen(bucket)] == [line[0]["state"] for line in fresh]


def test_what_only_the_whole_manifest_has_is_read_when_it_is_asked_for(bucket):
    def newest() -> Backup:
        bucket.backups()
        return bucket.backup(NEWEST)

    key, backup = bucket.manifest(NEWEST), newest()
    assert "parts" not in (backup.described or {})
    bucket.store.read.clear()
    whole = parse(bucket.store.objects[key], key)
    assert (backup.manifest, backup.manifest) == (whole, whole)
    assert bucket.store.read == [key]
    catalog = Catalog(bucket.settings, bucket.store, "school")  # type: ignore[arg-type]
    assert catalog.resolve("latest").described == whole, "who restores reads it anew"
    for lies, code in ((None, "MANIFEST_UNREADABLE"), (b"{}", "MANIFEST_REPLACED")):
        backup, honest = newest(), bucket.store.objects[key]
        bucket.store.objects |= {key: lies}  # type: ignore[dict-item]  # None: it is gone
        with pytest.raises(BadBackupError) as caught:
            _ = backup.manifest
        assert [found["code"] for found in caught.value.findings] == [code]
        bucket.store.objects[key] = honest


def test_what_is_too_long_for_a_summary_is_read_at_each_look(bucket):
    needs = [{"object": "view v", "said": "x" * 9000, "mend": "y" * 90_000}]
    bucket.take(NEWEST, needs_search_path=needs)
    fresh = seen(bucket)
    assert bucket.manifest(NEWEST) in read_by(bucket)
    assert seen(bucket) == fresh


def test_without_a_state_all_is_read(bucket):
    fresh = seen(bucket)
    for file in Path(bucket.settings.state_dir).iterdir():
        file.unlink()
    Path(bucket.settings.state_dir).rmdir()
    assert seen(bucket) == fresh
    assert len(read_by(bucket)) > 9
    assert json.dumps([line[0] for line in fresh])
