"""Text of databases whose encoding Python or PostgreSQL cannot convert, as it stands.

A database in SQL_ASCII holds whatever bytes it was given, and MULE_INTERNAL cannot be converted to
UTF8 by the server, nor read by Python. There the server is asked for bytes as they are
(``client_encoding = SQL_ASCII``), and this module teaches psycopg to take them for UTF-8: what is
none becomes surrogates, which turn into the same bytes again on the way back (PEP 383). By itself
psycopg hands out bytes instead of text there, and refuses names with other letters than those of
ASCII.
"""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

import psycopg
from psycopg import _encodings
from psycopg.adapt import Buffer, Loader

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

#: encodings of a server that stay as they are; every other one it converts to UTF8
UNCONVERTED = ("SQL_ASCII", "MULE_INTERNAL")
_NAME = "postgres_backup_raw"
_TEXT_TYPES = ("text", "name", "varchar", "bpchar", '"char"')


def teach(connection: psycopg.Connection) -> None:
    """Text comes as text over this connection."""
    for kind in _TEXT_TYPES:
        connection.adapters.register_loader(kind, _TextLoader)
    connection.adapters.register_loader(0, _TextLoader)  # a type that psycopg does not know


class _TextLoader(Loader):
    def load(self, data: Buffer) -> str:
        return _decode(data)[0]


def _encode(text: str, _errors: str = "strict") -> tuple[bytes, int]:
    return text.encode(errors="surrogateescape"), len(text)


def _decode(data: ReadableBuffer, errors: str = "strict", /) -> tuple[str, int]:
    # what is to be shown only (messages) is asked for with "replace"
    how = "backslashreplace" if errors == "replace" else "surrogateescape"
    whole = bytes(data)
    return whole.decode(errors=how), len(whole)


def _search(name: str) -> codecs.CodecInfo | None:
    return codecs.CodecInfo(_encode, _decode, name=_NAME) if name == _NAME else None


codecs.register(_search)
# psycopg has no other place to say it; tests/integration/postgresql/test_raw_text.py sees it when a
# newer one has it elsewhere
_encodings.py_codecs.update({b"SQL_ASCII": _NAME, b"SQLASCII": _NAME})
_encodings.pg2pyenc.cache_clear()
