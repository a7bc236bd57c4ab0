"""A proof counts for the one backup and manifest that it names; what cannot be read is told."""

from __future__ import annotations

import dataclasses
import json
import random
from datetime import datetime, timezone

import pytest

from postgres_backup.catalog import proofs
from postgres_backup.catalog.backup import Backup
from postgres_backup.catalog.names import BackupName, Layout
from postgres_backup.errors import StoreError
from tests import documents, hostile

NAME = BackupName(datetime(2026, 1, 27, tzinfo=timezone.utc))
PROOF = {
    "backup": str(NAME),
    "database": "crm",
    "server": "db1",
    "kind": "read",
    "at": "2026-01-27T01:00:00Z",
    "by": "db1",
    "manifest_sha256": "a" * 64,
}


def backup(*records: dict, manifest_sha256: str = "a" * 64, **described: object) -> Backup:
    read = tuple((f"p/proofs/{number}", record) for number, record in enumerate(records))
    return Backup(
        NAME,
        Layout("p"),
        1,
        {"schema": 2, **described},
        manifest_sha256=manifest_sha256,
        noted=proofs.Noted(tuple(key for key, _ in read), read),
    )


def test_a_proof_counts_for_its_backup_and_manifest():
    assert backup(PROOF).proofs == ({"kind": "read", "at": PROOF["at"], "by": "db1"},)
    assert backup(PROOF).proven
    assert backup(PROOF | {"kind": "restored"}).proven
    for other in (
        backup(),
        backup(PROOF | {"backup": f"{NAME}.age"}),
        backup(PROOF | {"manifest_sha256": "b" * 64}),
        backup(PROOF, manifest_sha256=""),
        dataclasses.replace(backup(PROOF), described=None),
        dataclasses.replace(backup(PROOF), problem="cut"),
    ):
        assert not other.proven


def test_proofs_within_a_manifest_are_those_of_schema_1():
    within = [{"kind": "verify", "at": PROOF["at"]}]
    assert backup(schema=1, proofs=within).proofs == tuple(within)
    assert backup(PROOF, schema=1, proofs=within).proofs[0] == within[0]
    assert not backup(proofs=within).proven


def test_of_those_that_count_the_newest_two_stay():
    odd = PROOF | {"manifest_sha256": "b" * 64}
    assert backup(odd, PROOF, odd, PROOF).old_proofs == []
    assert backup(PROOF, PROOF, odd, PROOF, PROOF).old_proofs == ["p/proofs/3", "p/proofs/4"]


def test_the_newest_restore_says_more_than_what_was_read_since_and_stays():
    restored = PROOF | {"kind": "restored", "at": "2026-01-02T00:00:00Z"}
    older = restored | {"at": "2026-01-01T00:00:00Z"}
    found = backup(PROOF, PROOF, restored, older)
    assert found.proof == {"kind": "restored", "at": restored["at"]}
    assert found.restored
    assert found.old_proofs == ["p/proofs/3"]
    assert (backup(PROOF).proof, backup(PROOF).restored) == (
        {"kind": "read", "at": PROOF["at"]},
        False,
    )
    assert backup().proof is None


def parsed(data: bytes) -> bool:
    """Whether it was read; a person is told of it either way."""
    _, found = proofs._parsed("p/proofs/x.json", data)
    if isinstance(found, str):
        assert found.startswith("p/proofs/x.json cannot be read: ")
        assert len(found) < 600
        assert found.isprintable()
        return False
    assert found is not None
    assert backup(found).describe(datetime.now(timezone.utc))["proven"] in (True, False)
    return True


@pytest.mark.hypothesis
def test_every_field_of_a_proof_may_be_anything():
    chance = random.Random(13)
    assert parsed(hostile.document(PROOF))
    read = [
        parsed(hostile.document(hostile.varied(PROOF, chance, chance.randrange(1, 4))))
        for _ in range(300)
    ]
    assert any(read)
    assert not all(read)
    for data in (*hostile.ODD_DOCUMENTS, b" " * 20_000 + json.dumps(PROOF).encode()):
        assert not parsed(data)
    for _ in range(100):
        parsed(hostile.mangled(hostile.document(PROOF), chance))


def test_what_the_store_does_not_hand_out_is_told():
    key, found = proofs._parsed("k", StoreError("Failed to read k: AccessDenied", ""))
    assert (key, found) == ("k", "k cannot be read: Failed to read k: AccessDenied")
    assert proofs._parsed("k", None) == ("k", None)


def test_the_documents_show_one():
    section = documents.section("docs/reference.md", "Proofs")
    [block] = documents.blocks("docs/reference.md", section)
    shown = json.loads(block.text)
    assert parsed(block.text.encode())
    assert list(shown) == list(proofs.ProofRecord.__annotations__)
