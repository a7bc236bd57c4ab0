"""What scripts and other tools leave under a backup's name, told by its first bytes.

A script may pack with ``-Fc`` and call it ``.sql.gz``, pack twice or not at all, or write what
pg_dump complains of into the dump. What can be read is read, whatever it is called; what cannot is
called by its name, before anything is touched.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..errors import BadBackupError
from ..findings import finding
from . import codec
from .codec import is_gzip, is_zstd
from .scanner import BYTE_ORDER_MARK

PLAIN, ARCHIVE = "plain", "archive"
#: what a custom archive begins with, and so does the table of contents of a tar
MAGIC = b"PGDMP"
#: so much is looked at, bytes; what a script puts before a dump is shorter
_HEAD_BYTES = 64 << 10
#: layers of compression that are taken off: pg_dump's own and a script's
_MOST_LAYERS = 3
_TAR_BLOCK, _TAR_MARK = 512, slice(257, 262)
#: line of the header of a dump, or of a whole server
_HEADER = re.compile(rb"(?:^|[\r\n])-- PostgreSQL database (?:cluster )?dump\r?\n")
#: how a line begins that belongs to a script of SQL, in capitals
_SQL = re.compile(
    rb"--|/\*|\\|(?:SET|RESET|BEGIN|START|COMMIT|DROP|CREATE|ALTER|COMMENT|GRANT|REVOKE|SELECT|DO"
    rb"|TRUNCATE|INSERT|UPDATE|DELETE|WITH|CALL|LOCK)\b"
)
#: how the messages of programs begin (2>&1), by whose they are. None is quoted: a trace of a shell
#: may hold a password.
_NAMED = (
    (re.compile(rb"[ \t]*pg_dump(?:all)?:"), "a message of pg_dump"),
    (re.compile(rb"[ \t]*(?:docker:|the input device |OCI runtime )"), "a message of docker"),
)
#: as pg_dump --verbose begins, to the end of which they go on
_VERBOSE = re.compile(
    rb"^pg_dump: (?:\[archiver[^\]]*\] )?"
    rb"(?:last built-in OID|reading |identifying |finding |saving )",
    re.MULTILINE,
)
_MESSAGE = re.compile(rb"[ \t]*(?:[\w./-]+: |(?:ERROR|WARNING|Warning|NOTICE|HINT|DETAIL)\b)")
#: how other files begin -> what they are, and what to do
_OTHERS: tuple[tuple[bytes, str, str], ...] = (
    (b"BZh", "packed by bzip2", "Unpack and store it anew: bunzip2 < FILE | gzip > NEW"),
    (b"\xfd7zXZ\0", "packed by xz", "Unpack and store it anew: unxz < FILE | gzip > NEW"),
    (
        b"\x04\x22\x4d\x18",
        "packed by lz4",
        "Unpack and store it anew: lz4cat FILE | gzip > NEW",
    ),
    (b"PK\x03\x04", "a ZIP file", "Unpack and store it anew: unzip -p FILE | gzip > NEW"),
    (
        b"age-encryption.org/",
        "encrypted by age, and its name does not say so",
        "Give it a name that ends in .age",
    ),
    (
        b"-----BEGIN AGE ENCRYPTED FILE-----",
        "encrypted by age as text",
        "Decrypt and store it anew: age -d -i KEY FILE > NEW",
    ),
    (
        b"-----BEGIN PGP MESSAGE-----",
        "encrypted by GnuPG",
        "Decrypt and store it anew: gpg -d FILE > NEW",
    ),
    (
        b"Salted__",
        "encrypted by openssl",
        "Decrypt it, as the script's counterpart did (openssl enc -d ...), and store it anew",
    ),
    (
        b"\xff\xfe",
        "text in UTF-16, as PowerShell writes it",
        "Unpack, convert and store it anew: iconv -f UTF-16 -t UTF-8 FILE | gzip > NEW",
    ),
    (b"-- MySQL dump", "a dump of MySQL", "It belongs to another program"),
    (b"-- MariaDB dump", "a dump of MariaDB", "It belongs to another program"),
    (b"SQLite format 3\0", "a database of SQLite", "It belongs to another program"),
)
#: findings of what a person can mend -> what to type; FILE and NEW are the object before and after
HINTS = {
    "SEVERAL_DUMPS": (
        "Two databases would become one. Divide it, and store each dump as a backup of its own "
        "database: gunzip < FILE | awk '/^-- PostgreSQL database dump\\r?$/ {n++} "
        '{print > ("dump-" n ".sql")}\''
    ),
    # before 11 a database begins with \connect, since then with a comment
    "CLUSTER_DUMP": (
        "It was made by pg_dumpall. Take your database out, and store that as a backup: "
        'gunzip < FILE | awk -v d=NAME \'/^-- Database ".*" dump/ {n = 1; '
        'p = index($0, "\\"" d "\\"")} /^\\\\connect / && !n {p = ($2 == d)} p\' | gzip > NEW. '
        "Or load all of it by hand into an empty server, with psql"
    ),
    "LINES_BEFORE_DUMP": (
        "Take them out, and store it anew: gunzip < FILE | "
        "sed -n '/^-- PostgreSQL database dump/,$p' | gzip > NEW. Let the script keep messages "
        "apart (no 2>&1, no progress bar, docker exec without -t)"
    ),
    "MESSAGES_IN_DUMP": (
        "pg_dump --verbose wrote what it did into the dump (2>&1 in the script), among the rows "
        "too, where nobody can tell it apart. Choose another: postgres-backup list"
    ),
    "ROWS_ALONE": (
        "It was made by pg_dump --data-only. Load it by hand into a database that has the tables, "
        "and they empty: gunzip < FILE | psql -v ON_ERROR_STOP=1 -d NAME"
    ),
    "TRAILER_NOT_LAST": (
        "Look at what follows. If it is not the database's (a script's last words), cut it off, "
        "and store it anew: gunzip < FILE | awk '/^-- PostgreSQL database dump complete/ {e = 1} "
        "e && !/^(--.*|\\\\unrestrict .*)?\\r?$/ {exit} {print}' | gzip > NEW"
    ),
}
#: findings whose hint helps a person who takes over old backups
MENDABLE = (*HINTS, "OTHER_FORMAT")


class Content(NamedTuple):
    """What is inside an object.

    :param kind: :data:`PLAIN`, or :data:`ARCHIVE` for pg_restore (custom or tar).
    :param head: its first bytes.
    """

    kind: str
    head: bytes
    chunks: Iterator[bytes]


def unwrapped(chunks: Iterable[bytes], format: str, compression: str) -> Content:
    """Whatever compression there is taken off, and what lies below recognised.

    :param chunks: the object, decrypted; read to the end by whoever reads the content to its end.
    :param format: plain or custom, as its name says; so is the compression.
    :raises BadBackupError: it is nothing that can be read. The finding says what it is:
        ``OTHER_FORMAT``, ``LINES_BEFORE_DUMP``, or what :func:`codec.decompress` finds.
    """
    head, stream = _ahead(chunks)
    for layer in range(_MOST_LAYERS):
        packed = "gzip" if is_gzip(head) else "zstd" if is_zstd(head[:4]) else ""
        if not packed:
            if layer == 0 and compression != "none" and not _is_known(head):
                packed = compression  # which says what is wrong with it
            else:
                break
        head, stream = _ahead(codec.decompress(stream, packed))
    if is_archive(head):
        return Content(ARCHIVE, head, stream)
    _require_text(head)
    if format != PLAIN and not _HEADER.search(head):
        raise _other(
            "it does not begin as what pg_dump writes", "Choose another: postgres-backup list"
        )
    return Content(PLAIN, head, stream)


def is_archive(head: bytes) -> bool:
    """Whether pg_restore reads it: a custom archive, or a tar that begins with its contents."""
    return head.startswith(MAGIC) or (_is_tar(head) and head.startswith(b"toc.dat\0"))


def archive_head(head: bytes) -> bytes:
    """The first bytes of the archive proper, of a tar too."""
    return head[_TAR_BLOCK:] if _is_tar(head) else head


def _is_tar(head: bytes) -> bool:
    return head[_TAR_MARK] == b"ustar"


def _is_known(head: bytes) -> bool:
    """Whether it can be told what it is although it is not compressed."""
    known = is_archive(head) or _is_tar(head) or _HEADER.search(head)
    return bool(known) or any(head.startswith(start) for start, *_ in _OTHERS)


def _require_text(head: bytes) -> None:
    """:raises BadBackupError: it is none, or something stands before the dump."""
    for start, what, hint in _OTHERS:
        if head.startswith(start):
            raise _other(f"it is {what}", hint)
    if _is_tar(head):
        raise _other(
            "it is a tar of files, and none of pg_dump -Ft",
            "Unpack it. A folder made by pg_dump -Fd becomes a backup so: "
            "pg_restore -f - FOLDER | gzip > NEW",
        )
    header = _HEADER.search(head)
    # a progress bar draws itself anew behind a carriage return
    lines = [line for line in re.split(rb"[\r\n]+", _before(head, header)) if line.strip()]
    lines = lines if header else lines[:1]
    if not lines:
        return
    told = next((whose for line in lines for known, whose in _NAMED if known.match(line)), "")
    told = told or ("a message of another program" if _MESSAGE.match(lines[0]) else "")
    if not told and header and not _SQL.match(lines[0].upper()):
        told = "something that is no SQL (a progress bar, what a shell says)"
    if header and _VERBOSE.search(_before(head, header)):
        message = "messages of pg_dump --verbose stand in it"
        raise BadBackupError(
            f"Failed to read the backup: {message}",
            HINTS["MESSAGES_IN_DUMP"],
            [finding("MESSAGES_IN_DUMP", message)],
        )
    if told and header:
        message = f"{told} stands before the dump in it"
        raise BadBackupError(
            f"Failed to read the backup: {message}",
            HINTS["LINES_BEFORE_DUMP"],
            [finding("LINES_BEFORE_DUMP", message)],
        )
    if told:
        message = f"there is no dump in it, but {told}, which failed"
        raise BadBackupError(
            f"Failed to read the backup: {message}",
            "Nothing of the database is in it. Choose another: postgres-backup list",
            [finding("HEADER_MISSING", message)],
        )


def rows_alone(table: str) -> BadBackupError:
    """What to say of a dump that has rows, first of this table, and makes none."""
    message = f"it has rows of {table} and makes no table"
    return BadBackupError(
        f"Failed to read the backup: {message}",
        HINTS["ROWS_ALONE"],
        [finding("ROWS_ALONE", message)],
    )


def _before(head: bytes, header: re.Match[bytes] | None) -> bytes:
    return head[: header.start() if header else None].removeprefix(BYTE_ORDER_MARK)


def _other(message: str, hint: str) -> BadBackupError:
    return BadBackupError(
        f"Failed to read the backup: {message}", hint, [finding("OTHER_FORMAT", message)]
    )


def _ahead(chunks: Iterable[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The first bytes of a stream, and all of it."""
    stream, taken, size = iter(chunks), [], 0
    while size < _HEAD_BYTES and (chunk := next(stream, None)) is not None:
        taken.append(chunk)
        size += len(chunk)
    return b"".join(taken)[:_HEAD_BYTES], itertools.chain(taken, stream)
