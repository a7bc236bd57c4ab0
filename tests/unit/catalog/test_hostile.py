"""Whatever lies in the bucket, a reader answers with what fits or with one sentence; seeds are
fixed, and `make fuzz` looks at 120,000 of each.
"""

from __future__ import annotations

import json
import random
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings as profile

from postgres_backup.catalog import history, manifest, signed
from postgres_backup.catalog.backups import Catalog
from postgres_backup.catalog.names import BackupName, Layout
from postgres_backup.catalog.reading import Found
from postgres_backup.catalog.retention import Policy, plan
from postgres_backup.clock import utc_now
from postgres_backup.errors import BadBackupError, StoreError
from postgres_backup.health import trend
from postgres_backup.s3.client import StoredObject
from postgres_backup.signing.judge import BY_NOBODY
from postgres_backup.signing.signers import Signers
from tests import hostile
from tests.properties import SHORT
from tests.unit.memory import peak_of

ROOT = Path(__file__).resolve().parents[3]
BUCKET = ROOT / "tests/fixtures/version_0_1_0/bucket/postgres-backup"
OF_VERSION_0_1_0 = sorted(BUCKET.glob("manifests/*.json"))
FULL = json.loads(OF_VERSION_0_1_0[0].read_bytes()) | {
    "extensions": [{"name": "plpgsql", "version": "1.0", "schema": "pg_catalog"}],
    "settings": [{"role": "", "setting": "work_mem=7MB"}],
    "privileges": [{"role": "", "privilege": "CONNECT", "grantable": False, "grantor": "postgres"}],
    "encryption": {"kind": "age", "recipients": ["age1x"]},
    "parts": [{"bytes": json.loads(OF_VERSION_0_1_0[0].read_bytes())["bytes"], "sha256": "0" * 64}],
    "proofs": [{"kind": "verify", "at": "2026-11-28T08:00:00Z", "by": "school-db"}],
}
EVENT = {
    "at": "2026-11-28T08:00:00Z",
    "event": "prune",
    "server": "school-db",
    "database": "school",
    "backup": FULL["name"],
    "bytes": 1,
    "rows": 2,
    "seconds": 0.5,
    "downtime_seconds": 0.1,
    "kept_database": None,
    "deleted": [{"backup": "x", "reason": "old"}],
    "tables": [{"table": "t", "rows": 1}],
    "reason": "why",
    "kind": "store",
    "findings": [{"code": "STORE_FAILS", "message": "it does"}],
}


def many(number: int) -> int:
    """``number`` of every run, and a hundred and twenty thousand by ``make fuzz``."""
    return number if profile().max_examples == SHORT else 120_000


@pytest.mark.parametrize("path", OF_VERSION_0_1_0, ids=lambda path: path.stem)
def test_manifests_of_version_0_1_0_read_as_they_were_written(path):
    assert manifest.parse(path.read_bytes(), path.name) == json.loads(path.read_bytes())


def judge(data: bytes) -> str:
    """What a listing and a prune make of a backup with this manifest: its state."""
    name = BackupName.parse(FULL["name"])
    assert name is not None
    catalog = Catalog(hostile.SETTINGS, None, "school")  # type: ignore[arg-type]  # nothing is asked of it
    item = StoredObject("k", FULL["bytes"], utc_now())
    try:
        read: manifest.Manifest | BadBackupError = manifest.parse(data, "m.json")
    except BadBackupError as error:
        read = error
    found = Found(read, "", BY_NOBODY)
    backup = catalog._join(Layout("postgres-backup"), name, item, found)
    line = backup.describe(utc_now())
    json.dumps(line).encode()
    [decision] = plan([backup], Policy(days=1), utc_now() + timedelta(days=90))
    if isinstance(read, BadBackupError):
        assert read.findings[0]["code"] in ("MANIFEST_DAMAGED", "MANIFEST_NEWER")
        assert len(read.message) < 600
        assert (decision.keep, backup.good, backup.proven) == (True, False, False)
    else:
        trend.findings(backup, [backup] * 4, 30, 200)
    return line["state"]


def test_one_odd_manifest_is_bad_and_no_more():
    """The fields that once ended `list`, `status` and `run`."""
    assert judge(hostile.document(FULL)) == "proven"
    for field, value in (("locale", "x"), ("proofs", [1]), ("seconds", "x"), ("rewritten", 1)):
        assert judge(hostile.document(FULL | {field: value})) == "bad"


@pytest.mark.hypothesis
def test_every_field_of_a_manifest_may_be_anything():
    chance = random.Random(10)
    states = {
        judge(hostile.document(hostile.varied(FULL, chance, chance.randrange(1, 4))))
        for _ in range(many(400))
    }
    assert {"bad", "proven"} <= states  # both are met: what a shape does not know is let be
    for data in hostile.ODD_DOCUMENTS:
        assert judge(data) == "bad"


@pytest.mark.hypothesis
def test_bytes_of_a_manifest_may_be_anything():
    chance, whole = random.Random(11), hostile.document(FULL)
    for _ in range(many(150)):
        judge(hostile.mangled(whole, chance))


def tell(data: bytes) -> bool:
    """Whether an event was read; a person is told of it either way."""
    believed = signed.Believed(lambda: Signers("school-db"))
    event, unread = history._Reader(believed, {})("journal/x.json", data)
    assert (event is None) != (unread is None)
    if unread:
        assert unread["code"] == "EVENT_UNREADABLE"
        assert len(unread["message"]) < 300
    events = [event] if event else []
    told: history.History = {
        "changed": False,
        "events": events,
        "last_run": {},
        "findings": [unread] if unread else [],
    }
    assert history.lines(told)
    return event is not None


@pytest.mark.hypothesis
def test_every_field_of_an_event_may_be_anything():
    chance = random.Random(12)
    assert tell(hostile.document(EVENT))
    read = [
        tell(hostile.document(hostile.varied(EVENT, chance, chance.randrange(1, 4))))
        for _ in range(many(400))
    ]
    assert any(read)
    assert not all(read)
    for data in hostile.ODD_DOCUMENTS:
        assert not tell(data)
    for path in BUCKET.glob("journal/*.json"):
        assert tell(path.read_bytes())


def test_a_manifest_that_the_store_does_not_hand_out_is_one_finding():
    error = manifest.unreadable("m.json", StoreError("Failed to read m.json: AccessDenied", ""))
    assert [found["code"] for found in error.findings] == ["MANIFEST_UNREADABLE"]


_MEMORY = """
import sys
from postgres_backup.catalog import manifest
from postgres_backup.errors import BadBackupError
head = b'{"schema": 1, "tables": {'
kinds = {
    "objects": head + b",".join(b'"%d":{"a":1}' % n for n in range(300_000)) + b"}}",
    "letters": ('{"schema": 1, "name": "\U0001f600' + "a" * (15 << 20) + '"}').encode(),
    "lists": b'{"schema": 1, "x": [' + b"[]," * (9 << 20) + b"1]}",
}
try:
    manifest.parse(kinds[sys.argv[1]], "m.json")
except BadBackupError as error:
    assert "is damaged" in error.message
else:
    raise AssertionError("it was read")
"""


@pytest.mark.parametrize("kind", ["objects", "letters", "lists"])
def test_a_manifest_is_read_in_bounded_memory(kind):
    assert peak_of(_MEMORY, kind) < 200
