"""What a reader of dumps must know of SQL: its tokens, the kinds of statements, the COPY header.

The patterns follow psql's lexer (``src/fe_utils/psqlscan.l``), for psql decides what a dump means.
Where several of its rules come to the same here they are one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import NamedTuple

#: what a statement is to a reader of dumps
COPY, SETTING, ROUTINE, LARGE_OBJECT, DATABASE, CLUSTER, OTHER = (
    "copy",
    "setting",
    "routine",
    "large object",
    "database",
    "cluster",
    "other",
)

_ANY_HIGH, _SJIS_HIGH = rb"\x80-\xff", rb"\x81-\x9f\xe0-\xff"
_LEADS = (_ANY_HIGH, _SJIS_HIGH)
#: encodings in which a character may end with the byte of a backslash, and the bytes with which
#: their characters of two begin (a character of four bytes in GB18030 is two such pairs). No server
#: stores them; a client may ask for them (src/include/mb/pg_wchar.h, PG_ENCODING_BE_LAST), by these
#: names (src/common/encnames.c), in capitals and without other signs.
HIDING = {
    **dict.fromkeys(("BIG5", "WIN950", "WINDOWS950"), _ANY_HIGH),
    **dict.fromkeys(("GBK", "WIN936", "WINDOWS936"), _ANY_HIGH),
    **dict.fromkeys(("UHC", "WIN949", "WINDOWS949"), _ANY_HIGH),
    **dict.fromkeys(("JOHAB", "GB18030"), _ANY_HIGH),
    **dict.fromkeys(("SJIS", "MSKANJI", "SHIFTJIS", "WIN932", "WINDOWS932"), _SJIS_HIGH),
    "SHIFTJIS2004": _SJIS_HIGH,
}
_FIRST, _LETTERS = rb"A-Za-z_\x80-\xff", rb"A-Za-z0-9_\x80-\xff"
_WORD = rb"[" + _FIRST + rb"][" + _LETTERS + rb"$]*"
WORD_BYTES = bytes(
    byte for byte in range(256) if re.match(rb"[" + _LETTERS + rb"$]", bytes([byte]))
)
IN_WORD = re.compile(rb"[" + _LETTERS + rb"$]*")
#: a run of word bytes that holds one of these is a name; others are numbers
NAME_BYTE = re.compile(rb"[" + _FIRST + rb"]")
TOKEN = re.compile(
    rb"(?P<space>[ \t\n\r\f\v]+)"
    rb"|(?P<comment>--[^\n\r]*)"
    rb"|(?P<block>/\*)"
    rb"|(?P<string>[eE]?')"
    rb'|(?P<name>")'
    rb"|(?P<dollar>\$(?:[" + _FIRST + rb"][" + _LETTERS + rb"]*)?\$)"
    rb"|(?P<word>" + _WORD + rb")"
    rb"|(?P<variable>:(?::|[" + _LETTERS + rb"]+))"
    rb"|(?P<backslash>\\)"
    rb"|(?P<mark>.)",
    re.DOTALL,
)
#: a token at the end of a buffer that the next bytes may make longer, or another one
UNFINISHED = re.compile(
    rb"(?:"
    + _WORD
    + rb"|:["
    + _LETTERS
    + rb"]*|[-/]|\$(?:["
    + _FIRST
    + rb"]["
    + _LETTERS
    + rb"]*)?)\Z"
)
BLOCK_EDGE = re.compile(rb"/\*|\*/")
#: by the bytes that begin a character of two (:data:`HIDING`): what an escape string may end or go
#: on with
ESCAPE_EDGES = {lead: re.compile(rb"['\\" + lead + rb"]") for lead in (b"", *_LEADS)}
#: the line that ends a COPY (handleCopyIn in src/bin/psql/copy.c); no row can look so, COPY doubles
#: every backslash
ROWS_END = re.compile(rb"\\\.\r?\n")
ROW_AND_END = re.compile(rb"\n\\\.\r?\n")

# Strides: text in which nothing can end a statement or hide such an end. They hold no semicolon,
# whole strings only and parentheses only in pairs. Backtracking would find nothing, so it is
# forbidden where re knows how. 3.11.0 to 3.11.4 match possessive repetitions wrongly
# (github.com/python/cpython/issues/106052): Debian 12 has 3.11.2, where COMMON matched nothing for
# ever.
_ONCE = b"+" if sys.version_info >= (3, 11, 5) else b""
_PLAIN = rb"[^'\"$\\;()/-]*" + _ONCE
_MARKS = rb'"[^"]*"|-(?=[^-])|/(?=[^*])'
#: a string after an E is left alone: it may be an E'' string
_STRINGS = {True: rb"(?<![eE])'[^']*'|", False: rb"'[^'\\]*(?:\\.[^'\\]*)*'|", None: b""}


def _stride(standard_strings: bool | None) -> bytes:
    simple = _STRINGS[standard_strings] + _MARKS
    stride = _PLAIN + rb"(?:(?:" + simple + rb")" + _PLAIN + rb")*" + _ONCE
    for _ in range(4):
        stride = _PLAIN + rb"(?:(?:" + simple + rb"|\(" + stride + rb"\))" + _PLAIN + rb")*" + _ONCE
    return stride


#: by standard_conforming_strings; None: strings are not to be passed over, a character may hide a
#: backslash
STRIDE = {standard: re.compile(_stride(standard), re.DOTALL) for standard in _STRINGS}
#: words that may open or close a block in a routine's body, or parts of longer words
BLOCK_WORD = re.compile(rb"begin|case|end", re.IGNORECASE)

#: beginnings of statements of the kind OTHER, as pg_dump writes them
_COMMON = (
    rb"INSERT INTO |ALTER (?:TABLE|SEQUENCE|INDEX|VIEW|TYPE|FUNCTION|SCHEMA) "
    rb"|SELECT pg_catalog\.(?:setval|lowrite|lo_close)"
    rb"|CREATE (?:TABLE|SEQUENCE|VIEW|TYPE|TRIGGER|(?:UNIQUE )?INDEX) "
    rb"|COMMENT ON (?:TABLE|COLUMN|FUNCTION|INDEX|CONSTRAINT) "
)


# one line end at a time: a run of them within a repetition could be cut in 2**n ways
_ABOVE = rb"(?:\n|--\n|-- (?:Data for )?Name: [^\r\n]*\n)"
#: what pg_dump writes above each object
ABOVE = re.compile(_ABOVE + rb"+")


def _common(before: bytes, after: bytes) -> dict[bool | None, re.Pattern[bytes]]:
    return {
        standard: re.compile(
            before + rb"(?:" + _COMMON + rb")" + _stride(standard) + rb";" + after, re.DOTALL
        )
        for standard in _STRINGS
    }


#: whole statements and what is above them, hundreds at once; by the keys of :data:`STRIDE`
COMMON = _common(rb"(?:" + _ABOVE + rb"*", rb"\n){1,1000}" + _ONCE)
#: one of them, which is the first group
COMMON_STATEMENT = _common(_ABOVE + rb"*(", rb")\n")

_SETTING = re.compile(
    rb"\s*(?:SET\s+(?:SESSION\s+|LOCAL\s+)?|SELECT\s+(?:pg_catalog\s*\.\s*)?set_config\s*\(\s*')"
    rb"(standard_conforming_strings|client_encoding)'?\s*(?:=|\bTO\b|,)\s*'?([\w-]+)",
    re.IGNORECASE,
)
#: a name as SQL has it
IDENTIFIER = rb'(?:"[^"]*(?:""[^"]*)*"|' + _WORD + rb")"
_COPY_OF_PG_DUMP = re.compile(
    rb"COPY ("
    + IDENTIFIER
    + rb"(?:\."
    + IDENTIFIER
    + rb")?) \(("
    + IDENTIFIER
    + rb"(?:, "
    + IDENTIFIER
    + rb")*)\) FROM stdin;"
)
_PLAIN_NAME = re.compile(IDENTIFIER + rb"(?:\." + IDENTIFIER + rb")*")
_PLAIN_NAMES = re.compile(IDENTIFIER + rb"(?:, " + IDENTIFIER + rb")*")
#: what pg_dump writes around large objects, and people around their scripts
_TRANSACTION = re.compile(
    rb"(?:(BEGIN)(?:\s+(?:WORK|TRANSACTION))?|(START)\s+TRANSACTION"
    rb"|(?:COMMIT|END)(?:\s+(?:WORK|TRANSACTION))?)\s*;",
    re.IGNORECASE,
)
#: first words of statements that begin or end transactions, or a part of one (PREPARE TRANSACTION)
TRANSACTION_WORDS = (
    b"BEGIN",
    b"START",
    b"COMMIT",
    b"END",
    b"ROLLBACK",
    b"ABORT",
    b"SAVEPOINT",
    b"RELEASE",
    b"PREPARE",
)
_COPY_TOKEN = re.compile(
    rb"\s+|--[^\n\r]*|/\*.*?\*/|(" + IDENTIFIER + rb"|'[^']*(?:''[^']*)*'|.)", re.DOTALL
)


class CopyHeader(NamedTuple):
    """A ``COPY ... FROM stdin`` statement, comments and needless spaces left out."""

    #: the table's name as written, e.g. ``public."My table"``
    table: bytes
    #: the columns as written, without the parentheses, joined by ``", "``; empty for a table
    #: without columns
    columns: bytes
    #: anything else it asks for; pg_dump asks for nothing (``WITH OIDS`` before version 12)
    options: bytes


def read_copy(statement: bytes) -> CopyHeader | None:
    """What a COPY statement says; None where it does not read from stdin, so that no rows follow
    it.
    """
    if match := _COPY_OF_PG_DUMP.fullmatch(statement):
        return CopyHeader(match[1], match[2], b"")
    tokens = [match[1] for match in _COPY_TOKEN.finditer(statement) if match[1]]
    upper = [token.upper() for token in tokens]
    start = 2 if upper[1:2] == [b"BINARY"] else 1
    at = start
    while at < len(tokens) and upper[at] not in (b"(", b"FROM", b"TO", b"WITH", b";"):
        at += 1
    table, columns = b"".join(tokens[start:at]), b""
    if upper[at : at + 1] == [b"("]:
        end = upper.index(b")", at) if b")" in upper[at:] else len(upper)
        columns = b"".join(b", " if token == b"," else token for token in tokens[at + 1 : end])
        at = end + 1
    options = upper[1:start] + [token for token in upper[at:] if token != b";"]
    for place in range(len(options) - 1):
        if options[place : place + 2] == [b"FROM", b"STDIN"]:
            return CopyHeader(table, columns, b" ".join(options[:place] + options[place + 2 :]))
    return None


def compose_copy(header: CopyHeader) -> bytes | None:
    """The statement that a header stands for, of nothing but its names; None where they are none
    that pg_dump writes.
    """
    if not _PLAIN_NAME.fullmatch(header.table) or header.options not in (b"", b"WITH OIDS"):
        return None
    if header.columns and not _PLAIN_NAMES.fullmatch(header.columns):
        return None
    columns = b"(" + header.columns + b") " if header.columns else b""
    oids = header.options + b" " if header.options else b""
    return b"COPY " + header.table + b" " + columns + oids + b"FROM stdin"


def read_transaction(statement: bytes) -> bool | None:
    """Whether a statement begins a transaction; False: it commits one; None: neither, or not as
    simply as pg_dump does.
    """
    match = _TRANSACTION.fullmatch(statement)
    return bool(match[1] or match[2]) if match else None


def hiding(encoding: str) -> bytes:
    """The bytes that begin a character which may end with a backslash's byte, as for a class of
    ``re``; none in most encodings.
    """
    return HIDING.get(re.sub(r"[^A-Z0-9]", "", encoding.upper()), b"")


def read_setting(statement: bytes) -> tuple[str, str] | None:
    """``("client_encoding", "UTF8")``; None for settings that do not change how a dump reads."""
    match = _SETTING.match(statement)
    return (match[1].decode().lower(), match[2].decode("ascii", "replace")) if match else None


def classify(head: Sequence[bytes]) -> str | None:
    """What a statement is, by its first tokens (words in capitals); None where more of them are
    needed.

    ``DATABASE`` speaks about a database as a whole, ``CLUSTER`` about what all databases of a
    server share; neither can be meant for the database a dump is loaded into.
    """
    first, more = head[0], head[1:]
    if first == b"COPY":
        return COPY
    if first == b"SET":
        return SETTING
    if first in (b"CREATE", b"ALTER", b"DROP"):
        return _classify_object(first, more)
    if first in (b"COMMENT", b"SECURITY", b"GRANT", b"REVOKE"):
        return _classify_on(first, more)
    if first in (b"REASSIGN", b"LOAD"):
        return CLUSTER
    if first == b"UPDATE":
        # pg_dump --create --clean of a template:
        # UPDATE pg_catalog.pg_database SET datistemplate = false
        return DATABASE if b"PG_DATABASE" in more else OTHER if len(more) >= 3 else None
    if first == b"SELECT":
        if b"(" in more:
            return {b"LO_OPEN": LARGE_OBJECT, b"SET_CONFIG": SETTING}.get(
                head[list(head).index(b"(") - 1], OTHER
            )
        return OTHER if len(more) >= 5 else None
    return OTHER


def _classify_object(verb: bytes, more: Sequence[bytes]) -> str | None:
    if not more:
        return None
    if more[0] == b"DATABASE":
        return DATABASE
    if verb == b"ALTER" and more[0] == b"ROLE":
        return _classify_role(more[1:])
    if more[0] in (b"ROLE", b"GROUP", b"TABLESPACE", b"SYSTEM", b"OWNED"):
        return CLUSTER
    if more[0] == b"USER":
        return _classify_user(more[1:])
    if verb == b"CREATE" and more[0] == b"OR":
        return (
            None if len(more) < 3 else ROUTINE if more[2] in (b"FUNCTION", b"PROCEDURE") else OTHER
        )
    return ROUTINE if verb == b"CREATE" and more[0] in (b"FUNCTION", b"PROCEDURE") else OTHER


def _classify_user(more: Sequence[bytes]) -> str | None:
    """``USER MAPPING FOR`` or ``USER MAPPING IF [NOT] EXISTS FOR``; else a role, which may be
    called mapping.
    """
    if not more or (len(more) < 2 and more[0] == b"MAPPING"):
        return None
    return OTHER if more[0] == b"MAPPING" and more[1] in (b"FOR", b"IF") else CLUSTER


def _classify_role(more: Sequence[bytes]) -> str | None:
    """``ALTER ROLE name IN DATABASE ...`` (pg_dump --create) speaks about a database; every other
    one about a role.
    """
    at = 1
    while at < len(more) and more[0] == b'"' and more[at] == b'"':
        at += 1  # a quote inside the name
    rest = more[at : at + 2]
    if not rest or rest == [b"IN"]:
        return None
    return DATABASE if rest == [b"IN", b"DATABASE"] else CLUSTER


def _classify_on(verb: bytes, more: Sequence[bytes]) -> str | None:
    depth = 0
    for place, token in enumerate(more):
        depth += (token == b"(") - (token == b")")
        if depth == 0 and token == b"ON":
            kinds = {
                b"DATABASE": DATABASE,
                b"ROLE": CLUSTER,
                b"TABLESPACE": CLUSTER,
                b"PARAMETER": CLUSTER,
            }
            return kinds.get(more[place + 1], OTHER) if place + 1 < len(more) else None
        if depth == 0 and token in (b"TO", b"FROM") and verb in (b"GRANT", b"REVOKE"):
            return CLUSTER  # a membership
    return None
