"""What lies in the bucket is altered after it was signed, in each of its fields, or put in the
place of another, or its signature is taken away: by every road it ends as it must, and before
PostgreSQL is asked for anything. (With a real server: ``integration/restore/test_trust.py``.)
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from datetime import datetime, timedelta
from typing import get_type_hints

import pytest

from postgres_backup.backup.kit import _held
from postgres_backup.catalog import manifest
from postgres_backup.catalog.backups import newest_good
from postgres_backup.catalog.kits import findings_of, list_kits
from postgres_backup.catalog.names import Layout
from postgres_backup.catalog.retention import Policy, plan
from postgres_backup.clock import format_timestamp
from postgres_backup.errors import BadBackupError, DatabaseError, UsageError
from postgres_backup.nightly.adopt import adopt_backups
from postgres_backup.restore.database import restore_database
from postgres_backup.restore.kit import restore_kit
from postgres_backup.signing import signers
from postgres_backup.signing.keys import SigningKey
from postgres_backup.verify.saved_roles import saved_roles
from tests.unit.signed_bucket import (
    BODY,
    NEWEST,
    NOW,
    OLDER,
    RESTORES,
    ROADS,
    Bucket,
    new_bucket,
    stranger,
)


@pytest.fixture
def bucket(tmp_path) -> Bucket:
    """Two backups, signed; its PostgreSQL does not answer."""
    made = new_bucket(tmp_path)
    for at in (OLDER, NEWEST):
        made.remember(at, made.take(at))
    return made


def test_what_is_signed_passes_until_the_server_is_asked(bucket):
    """Else the others would show nothing."""
    assert [b.state for b in bucket.backups()] == ["good", "good"]
    for go in RESTORES.values():
        for asked in (str(bucket.name(NEWEST)), "latest"):
            with pytest.raises(DatabaseError, match="Failed to reach PostgreSQL"):
                go(bucket.job(), asked)
    assert bucket.told() == (True, {"DATABASE_UNREACHABLE"})
    assert bucket.stay(Policy(1, allow_many=True), 365) == [NEWEST]


def other(value: object) -> object:
    """Another one of the same kind."""
    match value:
        case int():
            return value + 1
        case dict():
            return {**value, "name": "x"}
        case list():
            return [*value, *value]
        case _:
            return f"{value}x"


def altered(honest: bytes) -> dict[str, bytes]:
    """The manifest with each of its fields changed, gone, or there; and as no manifest is."""
    facts = json.loads(honest)
    made = {}
    for field in get_type_hints(manifest.Manifest):
        made[f"another {field}"] = json.dumps(facts | {field: other(facts.get(field, 0))}).encode()
        if field in facts:
            left = {name: value for name, value in facts.items() if name != field}
            made[f"no {field}"] = json.dumps(left).encode()
    plausible = {"schema": 1, "parts": [], "globals": None, "owner": "postgres", "rows": 2}
    for field, value in plausible.items():
        made[f"{field} is {value}"] = json.dumps(facts | {field: value}).encode()
    # the same to a reader, and not the same bytes
    made["blanks"] = json.dumps(facts).encode()
    return made | {"cut": honest[:-10], "empty": b"", "more": honest + b" ", "swapped": b"[]"}


def test_every_field_of_what_is_signed(bucket):
    """A quick road for each, with the newest asked for too, and all roads for some."""
    key = bucket.manifest(NEWEST)
    honest = bucket.store.objects[key]
    fields = altered(honest)
    assert len(fields) > 50
    for what, data in fields.items():
        bucket.store.objects[key] = data
        backup = bucket.backup(NEWEST)
        assert (backup.forged, backup.good, backup.state) == (True, False, "bad"), what
        if what in ("no parts", "another server", "cut"):
            bucket.ends(BadBackupError, "SIGNATURE_WRONG", roads=ROADS)
        with pytest.raises(BadBackupError, match="is forged") as caught:
            restore_database(bucket.job(check=True, trust_unsigned=True), "latest")
        assert str(bucket.name(NEWEST)) in caught.value.message, what
        assert NEWEST in bucket.stay(Policy(1, allow_many=True), 365), what
        healthy, codes = bucket.told()
        assert not healthy, what
        assert codes & {"BACKUP_BAD", "SIGNED_BACKUP_GONE"}, what
    assert newest_good(bucket.backups()) == bucket.backup(OLDER)


def test_a_signature_that_is_broken_anywhere(bucket):
    key = f"{bucket.manifest(NEWEST)}.sig"
    honest = bucket.store.objects[key]
    broken = [
        honest[:at] + bytes([honest[at] ^ 1]) + honest[at + 1 :] for at in range(0, len(honest), 4)
    ]
    of_the_older = bucket.store.objects[f"{bucket.manifest(OLDER)}.sig"]
    for signature in (*broken, b"", honest[:-5], honest * 2, of_the_older, stranger().sign(b"x")):
        bucket.store.objects[key] = signature
        backup = bucket.backup(NEWEST)
        assert backup.forged, signature
    bucket.ends(BadBackupError, "SIGNATURE_WRONG", roads=ROADS)
    bucket.ends(BadBackupError, "SIGNATURE_WRONG", "latest")


def test_unsigned_and_by_a_stranger(bucket):
    """Whoever took the signature away has not made the older one the latest, nor the retention
    lean on it.
    """
    key = bucket.manifest(NEWEST)
    signature = bucket.store.objects.pop(f"{key}.sig")
    assert signature
    for asked in ("", "latest"):
        bucket.ends(UsageError, "UNSIGNED", asked, words=(False,))
    with pytest.raises(DatabaseError):  # it is let pass, to a server that does not answer
        restore_database(bucket.job(trust_unsigned=True), "latest")
    bucket.store.objects[f"{key}.sig"] = stranger().sign(bucket.store.objects[key])
    for asked in ("", "latest"):
        bucket.ends(UsageError, "SIGNED_BY_STRANGER", asked, words=(False,))
    with pytest.raises(UsageError, match="waits for adoption"):
        adopt_backups(bucket.job(), [str(bucket.name(NEWEST))])
    assert newest_good(bucket.backups()) == bucket.backup(OLDER)


def test_all_signatures_taken_away(bucket):
    """They are what this server remembers, and nothing leans on them all the same."""
    for key in [key for key in bucket.store.objects if key.endswith(".sig")]:
        del bucket.store.objects[key]
    assert newest_good(bucket.backups()) is None
    healthy, codes = bucket.told()
    assert (healthy, "NO_BACKUP" in codes) == (False, True)
    bucket.ends(UsageError, "UNSIGNED", "latest", words=(False,))


def test_the_first_signed_backup_costs_none_of_those_before_an_upgrade(bucket):
    """They stay as long as they would if somebody vouched for them, and no signed one goes for
    them, however many somebody adds.
    """
    months = [NOW - timedelta(days=31 * month) for month in range(2, 6)]
    for at in months:
        bucket.take(at)
        del bucket.store.objects[f"{bucket.manifest(at)}.sig"]
    policy = Policy(1, monthly=20, allow_many=True)
    assert [b.state for b in bucket.backups()] == ["good"] * 2 + ["unsigned"] * 4
    assert set(months) < set(bucket.stay(policy, 1))
    assert bucket.stay(Policy(1, allow_many=True), 1) == [NEWEST], "their time is over"
    # newer ones, that nobody signed
    for hour in range(3):
        at = NOW - timedelta(minutes=hour)
        bucket.take(at)
        del bucket.store.objects[f"{bucket.manifest(at)}.sig"]
    assert NEWEST in bucket.stay(Policy(1, allow_many=True), 365)


def test_an_unsigned_one_that_is_altered_too(bucket):
    """To the server that signed it no flag makes it good; a new machine cannot know."""
    key = bucket.manifest(NEWEST)
    del bucket.store.objects[f"{key}.sig"]
    bucket.store.objects[key] = bucket.store.objects[key].replace(b'"rows": 1', b'"rows": 2', 1)
    bucket.ends(BadBackupError, "MANIFEST_REPLACED", roads=ROADS)
    bucket.ends(BadBackupError, "MANIFEST_REPLACED", "latest")
    bucket.forget()
    bucket.ends(UsageError, "UNSIGNED", words=(False,))


@pytest.mark.parametrize("machine", ["the same", "new"])
def test_an_older_one_in_the_place_of_the_newest(bucket, machine):
    """The manifest that was signed for another time, with its signature and its object."""
    old, new = bucket.manifest(OLDER), bucket.manifest(NEWEST)
    bucket.store.objects[new] = bucket.store.objects[old]
    bucket.store.objects[f"{new}.sig"] = bucket.store.objects[f"{old}.sig"]
    code = "MANIFEST_REPLACED"
    if machine == "new":
        bucket.forget()
        code = "MANIFEST_OF_ANOTHER"
    bucket.ends(BadBackupError, code, roads=ROADS)
    bucket.ends(BadBackupError, code, "latest")
    assert not bucket.told()[0]


def test_what_this_server_once_said_of_the_same_backup(bucket):
    """Adopted twice: the word of before is no longer this server's."""
    before = bucket.take(NEWEST, rows=2)
    bucket.remember(NEWEST, bucket.take(NEWEST))
    key = bucket.manifest(NEWEST)
    bucket.store.objects |= {key: before, f"{key}.sig": bucket.key.sign(before)}
    bucket.ends(BadBackupError, "MANIFEST_REPLACED", "latest")


def test_those_of_another_server(bucket):
    """Its key is trusted for it, and for nobody else; its backup under our name is not ours."""
    theirs = stranger()
    with open(bucket.settings.trusted_signers_file, "w") as file:
        file.write(signers.line_of("college-db", theirs.public) + "\n")
    bucket.take(NEWEST, theirs)  # it says to be ours
    bucket.forget()
    bucket.ends(UsageError, "SIGNED_BY_STRANGER", words=(False,))
    bucket.take(NEWEST, theirs, server={"name": "college-db"})
    assert bucket.backup(NEWEST).trusted
    bucket.ends(UsageError, "FOREIGN_BACKUP")
    assert newest_good(bucket.backups()) == bucket.backup(OLDER)
    bucket.remember(NEWEST, b"what was signed there")
    bucket.ends(BadBackupError, "MANIFEST_REPLACED", roads=ROADS)
    bucket.ends(BadBackupError, "MANIFEST_REPLACED", "latest")


def test_those_of_another_database_of_this_server(bucket):
    bucket.settings = dataclasses.replace(bucket.settings, databases=("school", "college"))
    data = bucket.take(NEWEST, folder="college", database="college")
    assert bucket.take(NEWEST, folder="school")
    key = bucket.manifest(NEWEST, "school")
    bucket.store.objects |= {key: data, f"{key}.sig": bucket.key.sign(data)}
    asked = f"s3://bucket/{Layout('postgres-backup', 'school').backup(bucket.name(NEWEST))}"
    bucket.ends(BadBackupError, "MANIFEST_OF_ANOTHER", asked)


def test_roles_that_nobody_signed_are_not_there(bucket):
    """A signed manifest without their hash, as of an adopted one whose roles had gone."""
    for fields, wanted in (
        ({}, BODY),
        ({"globals": {"key": "k", "bytes": 7, "passwords": False}}, None),
        ({"globals": None}, None),
    ):
        bucket.take(NEWEST, **fields)
        bucket.forget()
        assert saved_roles(bucket.job(), bucket.backup(NEWEST)) == wanted
    bucket.take(NEWEST)
    bucket.store.objects[Layout("postgres-backup").globals(bucket.name(NEWEST))] = b"CREATE"
    with pytest.raises(BadBackupError, match="not those that were uploaded"):
        saved_roles(bucket.job(), bucket.backup(NEWEST))


# --- kits ---


def kit_of(bucket: Bucket, at: datetime, signer: SigningKey | None = None) -> str:
    """A kit with its manifest, signed; the manifest's key."""
    stem = f"postgres-backup-kit-{at:%Y-%m-%d_%H-%M-%S}"
    facts = {
        "name": f"{stem}.tar.gz",
        "server": {"name": "school-db"},
        "paths": ["/srv/app"],
        "bytes": len(BODY),
        "sha256": hashlib.sha256(BODY).hexdigest(),
        "ended_at": format_timestamp(at),
    }
    data = manifest.dump_kit(facts)  # type: ignore[arg-type]  # tests forge it
    key = f"postgres-backup/kit/{stem}.json"
    bucket.store.objects |= {f"postgres-backup/kit/{stem}.tar.gz": BODY, key: data}
    bucket.store.objects[f"{key}.sig"] = (signer or bucket.key).sign(data)
    return key


def kit_ends(bucket: Bucket, kind: type[Exception], code: str, asked: str) -> None:
    """Whether it is only looked at or not; nobody is asked for the kit itself."""
    before = dict(bucket.store.objects)
    for check in (False, True):
        for word in (False, True) if kind is BadBackupError else (False,):
            with pytest.raises(kind) as caught:
                restore_kit(bucket.job(check=check, trust_unsigned=word), asked, "/nowhere")
            assert [found["code"] for found in caught.value.findings] == [code], asked
    assert bucket.store.objects == before


def test_kits(bucket):
    old, new = kit_of(bucket, OLDER), kit_of(bucket, NEWEST)
    honest, objects = bucket.store.objects[new], dict(bucket.store.objects)
    asked = new.rpartition("/")[2].replace(".json", ".tar.gz")
    facts = json.loads(honest)
    fields = {
        field: json.dumps(facts | {field: other(facts.get(field, 0))}).encode()
        for field in get_type_hints(manifest.KitManifest)
    }
    for what, data in (fields | {"cut": honest[:-9], "blanks": json.dumps(facts).encode()}).items():
        bucket.store.objects[new] = data
        kit_ends(bucket, BadBackupError, "SIGNATURE_WRONG", asked)
        if list_kits(bucket.settings, bucket.store)[0].ours:
            kit_ends(bucket, BadBackupError, "SIGNATURE_WRONG", "latest")
        kits = list_kits(bucket.settings, bucket.store)
        assert "SIGNATURE_WRONG" in [found["code"] for found in findings_of(kits)], what
        decisions = plan(kits, Policy(1, allow_many=True), NOW + timedelta(days=90), _held)
        assert decisions[0].keep, what
    # rolled back
    bucket.store.objects |= {new: objects[old], f"{new}.sig": objects[f"{old}.sig"]}
    for name in (asked, "latest"):
        kit_ends(bucket, BadBackupError, "MANIFEST_OF_ANOTHER", name)
    # signed by another, or by nobody
    bucket.store.objects = {new: honest, f"{new}.sig": stranger().sign(honest)} | {
        key: body for key, body in objects.items() if key not in (new, f"{new}.sig")
    }
    kit_ends(bucket, UsageError, "SIGNED_BY_STRANGER", asked)
    del bucket.store.objects[f"{new}.sig"]
    kit_ends(bucket, UsageError, "UNSIGNED", asked)
