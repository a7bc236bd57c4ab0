"""Broken backups, each found by its name, and none of its intact twins refused.

One database with a little of everything is backed up once; each case spoils a copy of that backup,
or the server that it returns to, and mends it again: between two breaks the twin must pass.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from postgres_backup.backup.database import create_backup
from postgres_backup.catalog.names import BackupName, Layout
from postgres_backup.clock import format_timestamp
from postgres_backup.drill.database import drill_database
from postgres_backup.drill.levels import CHECKS
from postgres_backup.job import Job
from postgres_backup.signing.keys import SigningKey
from tests.integration import engine
from tests.integration.restoring import as_superuser, databases_of, run_sql, state_of
from tests.integration.taken import Taken
from tests.services.signing import KEY, put_signed

STRANGER = SigningKey(Ed25519PrivateKey.generate())
#: what is said of every backup of a server that has taken but one
USUAL = {"NOT_CHECKED"}
#: checks that are made only where there is something to make them with
OPTIONAL = ("time", "amcheck", "kit")
#: a little of everything that a drill looks at
MADE = (
    "CREATE TABLE pupils (id int GENERATED ALWAYS AS IDENTITY, name text, PRIMARY KEY (id))",
    "INSERT INTO pupils (name) SELECT 'pupil ' || n FROM generate_series(1, 500) n",
    "CREATE TABLE marks (pupil int REFERENCES pupils, mark int CHECK (mark > 0))",
    "INSERT INTO marks SELECT n, n % 5 + 1 FROM generate_series(1, 500) n",
    "CREATE VIEW best AS SELECT * FROM marks WHERE mark = 5",
    "GRANT SELECT ON best TO {reader}",
    "ALTER TABLE marks OWNER TO {owner}",
    "ALTER TABLE pupils OWNER TO {owner}",
)


@dataclasses.dataclass
class Corpus(Taken):
    """A database, its backup, and what may be done to both."""

    reader: str

    def describe(self, signer: SigningKey = KEY, **fields: object) -> None:
        """The manifest with other fields, signed; without those that are ``...``."""
        described = json.loads(self.get(self.manifest)) | fields
        described = {name: value for name, value in described.items() if value is not ...}
        data = json.dumps(described).encode()
        put_signed(self.client, self.bucket, self.manifest, data, signer)

    def pack(self, dump: bytes, **fields: object) -> None:
        """Another dump in the place of the object, and everything about the object says so."""
        body = gzip.compress(dump, mtime=0)
        self.put(self.taken["key"], body)
        digest = hashlib.sha256(body).hexdigest()
        part = {"bytes": len(body), "sha256": digest}
        self.describe(bytes=len(body), sha256=digest, parts=[part], **fields)

    def dump(self) -> bytes:
        return gzip.decompress(self.get(self.taken["key"]))

    def sql(self, *statements: str) -> None:
        names = {"owner": self.database.owner, "reader": self.reader}
        run_sql(self.database.server, self.database.name, *statements, **names)

    def drill(self, **more: object) -> dict:
        settings = dataclasses.replace(self.settings, **more)
        return drill_database(Job(settings), self.taken["backup"], fast=True)

    @contextlib.contextmanager
    def mended(self) -> Iterator[None]:
        """Every object of the bucket is afterwards what it was before."""
        before = {key: self.get(key) for key in engine.keys(self.client, self.bucket)}
        state = Path(self.settings.state_dir) / "signed.json"
        remembered = state.read_bytes()
        state.unlink()  # as on a new machine: what lies in the bucket is all that is known
        try:
            yield
        finally:
            state.write_bytes(remembered)
            for key in engine.keys(self.client, self.bucket):
                if key not in before:
                    self.client.delete_object(Bucket=self.bucket, Key=key)
            for key, data in before.items():
                self.put(key, data)


@pytest.fixture
def corpus(database, config, s3_client, bucket):
    reader = f"{database.role_prefix}reader"
    run_sql(database.server, "postgres", "CREATE ROLE {reader}", reader=reader)
    settings = as_superuser(config, database.server)
    made = Corpus(database, settings, s3_client, bucket, {}, reader)
    made.sql(*MADE)
    made.taken = create_backup(Job(settings))
    return made


# --- the object and whose word it is ---


def cut(corpus: Corpus) -> None:
    corpus.put(corpus.taken["key"], corpus.get(corpus.taken["key"])[:-100])


def altered(corpus: Corpus) -> None:
    body = bytearray(corpus.get(corpus.taken["key"]))
    body[len(body) // 2] ^= 1
    corpus.put(corpus.taken["key"], bytes(body))


def another_object(corpus: Corpus) -> None:
    """Of the same size, whole, and not this one."""
    dump = corpus.dump().replace(b"pupil 499", b"pupil 498")
    size = len(corpus.get(corpus.taken["key"]))
    body = gzip.compress(dump, mtime=0)
    corpus.put(corpus.taken["key"], body[:size].ljust(size, b"\0"))


def another_manifest(corpus: Corpus) -> None:
    corpus.describe(name="postgres-backup-2026-01-27_00-00-00.sql.gz")


def wrong_signature(corpus: Corpus) -> None:
    data = corpus.get(corpus.manifest)
    corpus.put(corpus.manifest, data.replace(b'"rows": 1000', b'"rows": 1001'))


def strange_signature(corpus: Corpus) -> None:
    """Trusted is but the key of the tests, and that for every server."""
    corpus.describe(STRANGER)


def no_signature(corpus: Corpus) -> None:
    corpus.client.delete_object(Bucket=corpus.bucket, Key=f"{corpus.manifest}.sig")


def cut_dump(corpus: Corpus) -> None:
    corpus.pack(corpus.dump()[:-200])


def empty(corpus: Corpus) -> None:
    corpus.pack(engine.SMALL_DUMP.replace(b"1\n2\n", b""), tables={}, rows=0, schema_sha256="")
    corpus.describe(tables={"public.t": _none()}, shares=...)


def _none() -> dict:
    return {"rows": 0, "bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()}


# --- what comes out ---


def fewer_rows(corpus: Corpus) -> None:
    corpus.pack(corpus.dump().replace(b"500\tpupil 500\n", b""))


def other_content(corpus: Corpus) -> None:
    assert b"\n500\t1\n" in corpus.dump()
    corpus.pack(corpus.dump().replace(b"\n500\t1\n", b"\n500\t2\n"))


def other_schema(corpus: Corpus) -> None:
    corpus.pack(corpus.dump().replace(b"(mark > 0)", b"(mark > -1)"))


def other_owner(corpus: Corpus) -> None:
    old = f"ALTER TABLE public.marks OWNER TO {corpus.database.owner}".encode()
    new = f"ALTER TABLE public.marks OWNER TO {corpus.reader}".encode()
    assert old in corpus.dump()
    corpus.pack(corpus.dump().replace(old, new))


def other_privileges(corpus: Corpus) -> None:
    old = f"GRANT SELECT ON TABLE public.best TO {corpus.reader}".encode()
    assert old in corpus.dump()
    corpus.pack(corpus.dump().replace(old, old.replace(b"SELECT", b"INSERT")))


# --- what the server lacks ---


def extension_absent(corpus: Corpus) -> None:
    there = json.loads(corpus.get(corpus.manifest))["extensions"]
    lacking = {"name": "nobody_has_it", "version": "1", "schema": "public"}
    corpus.describe(extensions=[*there, lacking])


def role_absent(corpus: Corpus) -> None:
    corpus.describe(roles=[corpus.database.owner, "nobody_has_it"])


def too_new(corpus: Corpus) -> None:
    corpus.describe(postgresql_version="99.1")


def too_old(corpus: Corpus) -> None:
    """What every PostgreSQL up to 13 took: ``array_append`` was of ``anyarray`` then."""
    dump = corpus.dump()
    at = dump.index(b"-- Dumped from database version ")
    dump = dump.replace(dump[at : dump.index(b"\n", at)], b"-- Dumped from database version 13.9")
    aggregate = (
        b"CREATE AGGREGATE public.all_of(anyelement) (\n    SFUNC = array_append,\n"
        b"    STYPE = anyarray,\n    INITCOND = '{}'\n);\n\n"
    )
    at = dump.index(b"CREATE TABLE ")
    corpus.pack(dump[:at] + aggregate + dump[at:], postgresql_version="13.9")


def locale_absent(corpus: Corpus) -> None:
    corpus.describe(
        locale={"provider": "c", "collate": "xx_XX.utf8", "ctype": "xx_XX.utf8", "locale": None}
    )


def search_path_needed(corpus: Corpus) -> None:
    need = {"object": "index public.slug", "said": "it is not there", "mend": ""}
    corpus.describe(needs_search_path=[need])


def other_extension_version(corpus: Corpus) -> None:
    there = json.loads(corpus.get(corpus.manifest))["extensions"]
    corpus.describe(extensions=[one | {"version": "0.9"} for one in there])


# --- beside those before it ---


def _earlier(corpus: Corpus, dump_bytes: int) -> None:
    name = BackupName.parse(corpus.taken["backup"])
    layout = Layout("postgres-backup")
    described = json.loads(corpus.get(corpus.manifest))
    for day in (1, 2, 3):
        at = name.taken_at - timedelta(days=day)
        older = BackupName(at, ".sql.gz", False)
        corpus.put(layout.backup(older), corpus.get(corpus.taken["key"]))
        facts = {"name": str(older), "dump_bytes": dump_bytes, "started_at": format_timestamp(at)}
        data = json.dumps(described | facts).encode()
        put_signed(corpus.client, corpus.bucket, layout.manifest(older), data)


def size_dropped(corpus: Corpus) -> None:
    _earlier(corpus, 10_000_000)


def size_jumped(corpus: Corpus) -> None:
    _earlier(corpus, corpus.taken["dump_bytes"])
    corpus.describe(dump_bytes=10_000_000)


def size_as_usual(corpus: Corpus) -> None:
    _earlier(corpus, corpus.taken["dump_bytes"])


#: what breaks it, what that is called, and whether the drill may pass; what needs a load each
#: breaks together where one does not hide the other
BROKEN: list[tuple[tuple[Callable[[Corpus], None], ...], set[str], bool]] = [
    ((cut,), {"SIZE_DIFFERS"}, False),
    ((altered,), {"OBJECT_ALTERED"}, False),
    ((another_object,), {"OBJECT_ALTERED"}, False),
    ((another_manifest,), {"MANIFEST_OF_ANOTHER"}, False),
    ((wrong_signature,), {"SIGNATURE_WRONG"}, False),
    ((strange_signature,), {"SIGNED_BY_STRANGER"}, False),
    ((no_signature,), {"UNSIGNED"}, False),
    ((cut_dump,), {"TRAILER_MISSING"}, False),
    ((empty,), {"BACKUP_EMPTY"}, False),
    ((fewer_rows, other_content), {"ROWS_DIFFER", "DATA_DIFFERS"}, False),
    ((other_schema,), {"SCHEMA_DIFFERS"}, False),
    (
        (other_owner, other_privileges),
        {"OWNERS_DIFFER", "PRIVILEGES_DIFFER", "SCHEMA_DIFFERS"},
        False,
    ),
    ((extension_absent,), {"EXTENSION_ABSENT"}, False),
    ((role_absent,), {"ROLE_ABSENT"}, False),
    ((too_new,), {"VERSION_TOO_NEW"}, False),
    ((too_old,), {"VERSION_TOO_OLD"}, False),
    ((locale_absent,), {"LOCALE_ABSENT"}, False),
    (
        (search_path_needed, other_extension_version, size_dropped),
        {
            *("RESTORE_NEEDS_SEARCH_PATH", "SEARCH_PATH_USED"),
            *("EXTENSION_DIFFERS", "SIZE_DROPPED"),
        },
        True,
    ),
    ((size_jumped,), {"SIZE_JUMPED"}, True),
]


def codes(result: dict) -> set[str]:
    return {found["code"] for found in result["findings"]}


# longer than others, for it is some twenty drills: each case is one, and what can share one does
def test_each_is_called_by_its_name_and_its_twin_is_not(corpus):
    """The bucket is mended after each, and the last drill of the intact one passes as the first."""
    server, name = corpus.database.server, corpus.database.name
    before, live = databases_of(server), state_of(server, name)
    passed_before(corpus)
    for spoils, names, passes in BROKEN:
        told = [spoil.__name__ for spoil in spoils]
        with corpus.mended():
            for spoil in spoils:
                spoil(corpus)
            result = corpus.drill()
        assert codes(result) - USUAL == names, (told, result["findings"])
        assert result["passed"] is passes, (told, result["findings"])
        for found in result["findings"]:
            for check in result["checks"]:
                if check["check"] == found["check"] and found["code"] not in USUAL:
                    assert check["outcome"] == found["level"], (told, check)
        assert databases_of(server) == before, told
    with corpus.mended():
        size_as_usual(corpus)
        result = corpus.drill(drill_rto_minutes=10.0)
    assert (result["passed"], codes(result)) == (True, set())
    assert [check["check"] for check in result["checks"]] == [
        name for name in CHECKS if name not in ("amcheck", "kit")
    ]
    assert {check["outcome"] for check in result["checks"]} == {"passed"}
    assert 0 < result["restore_seconds"] < 600
    assert state_of(server, name) == live


def passed_before(corpus: Corpus, **more: object) -> None:
    """The intact one: all that could be looked at has passed."""
    result = corpus.drill(**more)
    assert result["passed"], result["findings"]
    assert codes(result) <= USUAL
    outcomes = {check["check"]: check["outcome"] for check in result["checks"]}
    passed = {name: "passed" for name in CHECKS if name not in OPTIONAL}
    assert outcomes == passed | {"size": "unchecked"}


#: what breaks the live database before its backup is taken, and what mends it
INSIDE = {
    "SEQUENCE_BEHIND": (
        "ALTER TABLE pupils ALTER id RESTART WITH 400",
        "ALTER TABLE pupils ALTER id RESTART WITH 501",
    ),
    "CONSTRAINT_NOT_VALIDATED": (
        "ALTER TABLE marks ADD CONSTRAINT low CHECK (mark < 9) NOT VALID",
        "ALTER TABLE marks VALIDATE CONSTRAINT low",
    ),
}


def test_what_a_backup_brings_back_as_it_was(corpus):
    """One backup with all of it, and one with all of it mended."""
    corpus.sql(*[spoil for spoil, _ in INSIDE.values()])
    corpus.taken = create_backup(Job(corpus.settings))
    spoiled = corpus.drill(drill_rto_minutes=0.0001)
    assert codes(spoiled) - USUAL == {*INSIDE, "RTO_EXCEEDED"}
    assert not spoiled["passed"]
    corpus.sql(*[mend for _, mend in INSIDE.values()])
    corpus.taken = create_backup(Job(corpus.settings))
    passed_before(corpus)


@pytest.mark.parametrize("postgres", [15], indirect=True)  # the wheels have no ICU
def test_how_the_live_database_sorts(corpus):
    corpus.sql(
        "CREATE COLLATION sorted (provider = icu, locale = 'de')",
        "ALTER TABLE pupils ADD COLUMN alias text COLLATE sorted",
    )
    corpus.taken = create_backup(Job(corpus.settings))
    passed_before(corpus)
    corpus.sql("UPDATE pg_collation SET collversion = '1' WHERE collname = 'sorted'")
    result = corpus.drill()
    assert codes(result) - USUAL == {"COLLATION_DIFFERS"}
    [found] = [one for one in result["findings"] if one["code"] == "COLLATION_DIFFERS"]
    assert "ALTER COLLATION public.sorted REFRESH VERSION;" in found["message"]
