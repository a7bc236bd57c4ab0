"""What somebody may write who can write to the bucket, and nothing else: manifests, roles and
events that are forged, one fault at a time.
"""

from __future__ import annotations

import copy
import gzip
import json
import random
from collections.abc import Iterator

from postgres_backup.settings import Settings

#: of a server that asks nobody
SETTINGS = Settings(
    server_name="school-db",
    databases=("school",),
    db_user="u",
    s3_endpoint_url="http://localhost",
    s3_bucket="bucket",
    s3_access_key="k",
    s3_secret_key="s",
)

#: in the place of any field: every kind, both ends of every range, and what no text can be
ODD_VALUES: tuple[object, ...] = (
    None,
    True,
    0,
    -1,
    2**63,
    10**400,
    0.5,
    1e308,
    "",
    "x",
    "\0",
    "\ud800",
    "9" * 5000,
    "a" * 200_000,
    "CREATE ON DATABASE postgres TO PUBLIC; --",
    "2026-13-01T00:00:00Z",
    [],
    [1],
    [[[[]]]],
    {},
    {"": None},
    {"a": {"b": [1]}},
    [None] * 200,
)
#: whole documents that are none
ODD_DOCUMENTS = (
    b"",
    b"null",
    b"[]",
    b"1",
    b'{"schema": 1',
    b"\xff\xfe{}",
    b"\xef\xbb\xbf{}",
    b'{"schema": NaN}',
    b'{"schema": 1, "schema": 1}',
    b'{"schema": 1e999}',
    b"[" * 200_000,
    b'{"a":' * 200_000,
    b"{" + b'"schema": 1,' * 100 + b'"x": 1}',
    b'{"schema": ' + b"9" * 100_000 + b"}",
    b'{"x": "' + b"a" * 1000 + b'\0"}',
)
#: statements of a file of roles that do what no role needs
CANARY = "hostile_canary"
HOSTILE_GLOBALS = rf"""
CREATE ROLE evil;
ALTER ROLE evil WITH SUPERUSER LOGIN CREATEROLE REPLICATION BYPASSRLS PASSWORD 'md5x';
GRANT pg_execute_server_program TO evil WITH ADMIN OPTION GRANTED BY postgres;
ALTER ROLE evil SET session_preload_libraries TO 'plugin';
COMMENT ON ROLE evil IS E'\''; CREATE ROLE {CANARY}; --';
COMMENT ON ROLE evil IS 'x'; CREATE ROLE {CANARY} SUPERUSER;
COMMENT ON ROLE evil IS $x$';$x$; DO $$BEGIN CREATE ROLE {CANARY}; END$$;
ALTER ROLE evil SET search_path TO 'a'; CREATE TABLE {CANARY} (i int); SELECT 1;
ALTER ROLE evil WITH LOGIN IN ROLE postgres;
COPY (SELECT 1) TO PROGRAM 'touch /tmp/{CANARY}';
"""


def varied(whole: object, chance: random.Random, faults: int = 1) -> object:
    """A copy with faults at random places: a field with another value, gone, or new, or deeper."""
    made = copy.deepcopy(whole)
    for _ in range(faults):
        places = list(_places(made))
        holder, key = chance.choice(places)
        if chance.random() < 0.1:
            del holder[key]
        elif chance.random() < 0.1 and isinstance(holder, dict):
            holder[f"new-{chance.random()}"] = copy.deepcopy(chance.choice(ODD_VALUES))
        elif chance.random() < 0.1:
            deep: object = 1
            for _ in range(chance.randrange(1, 60)):
                deep = [deep] if chance.random() < 0.5 else {"x": deep}
            holder[key] = deep
        else:
            holder[key] = copy.deepcopy(chance.choice(ODD_VALUES))
        if not made:
            return made
    return made


def _places(value: object) -> Iterator[tuple[dict | list, object]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)  # type: ignore[call-overload]
    for key, inner in list(pairs):
        yield value, key
        if isinstance(inner, (dict, list)):
            yield from _places(inner)


def document(value: object) -> bytes:
    """As bytes, whatever it holds: half letters and huge numbers too."""
    return json.dumps(value).encode()


def mangled(text: bytes, chance: random.Random) -> bytes:
    """The bytes with a few of them changed, doubled, cut out or swapped."""
    made = bytearray(text)
    for _ in range(chance.randrange(1, 6)):
        at, size = chance.randrange(len(made) or 1), chance.randrange(1, 40)
        piece = made[at : at + size]
        kind = chance.randrange(4)
        if kind == 0:
            del made[at : at + size]
        elif kind == 1:
            made[at:at] = piece * chance.randrange(1, 4)
        elif kind == 2:
            made[at:at] = chance.choice(
                (b"'", b'"', b";", b"\\", b"E'", b"--", b"/*", b"$$", b"\0")
            )
        else:
            made[at : at + size] = bytes(chance.randrange(256) for _ in piece)
    return bytes(made)


def packed(text: str) -> bytes:
    """A file of roles as it lies in the bucket."""
    return gzip.compress(text.encode())
