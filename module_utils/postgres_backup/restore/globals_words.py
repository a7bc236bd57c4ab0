"""The words of a file of SQL, cut as PostgreSQL cuts them with ``standard_conforming_strings`` on;
statement by statement. Pure; nothing is run.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

#: words of one statement at most
MOST_WORDS = 2_000
#: letters of one word at most
_LONGEST = 1024 * 1024
#: letters of a statement's beginning that are handed on
_BEGINNING = 1_000

#: the order matters: what could begin several is the first of them
_WORD = re.compile(
    r"""
    (?P<space>[ \t\n\r\f\v]+|--[^\n]*)
  | (?P<comment>/\*)
  | (?P<dollar>\$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z_0-9\x80-\U0010ffff]*)?\$)
  | (?P<escaped>[eE]')
  | (?P<odd>(?:[uU]&|[bBxXnN])'|[uU]&")
  | (?P<text>')
  | (?P<quoted>")
  | (?P<name>[A-Za-z_\x80-\U0010ffff][A-Za-z_0-9$\x80-\U0010ffff]*)
  | (?P<number>-?[0-9]+(?:\.[0-9]+)?)
  | (?P<end>;)
  | (?P<mark>[,=.])
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
#: what may stand where a quote could end; found one by one, because one expression for all of it
#: keeps each of them in memory
_QUOTES = {"'": re.compile("''|'"), '"': re.compile('""|"')}
_ESCAPED_QUOTES = re.compile(r"\\.|''|'", re.DOTALL)
_COMMENT_EDGE = re.compile(r"/\*|\*/")


class GlobalsUnfit(ValueError):
    """The file cannot be what pg_dumpall wrote of a server; the text says why."""


@dataclasses.dataclass(frozen=True, slots=True)
class Word:
    """``kind``: ``name`` (not quoted, so it may be a keyword), ``quoted``, ``text``, ``number``,
    ``mark`` or ``odd``.
    """

    kind: str
    value: str


def statements(text: str) -> Iterator[tuple[list[Word], str]]:
    """Each statement's words, and how it begins."""
    words: list[Word] = []
    at = begin = 0
    size = len(text)
    while at < size:
        if not words and text[at] == "\\":
            end = text.find("\n", at)
            at = end if end >= 0 else size  # psql's own, such as \restrict
            continue
        match = _WORD.match(text, at)
        if match is None:
            raise GlobalsUnfit(f"letter {at} is none")
        kind, at = match.lastgroup or "", match.end()
        if kind == "space":
            continue
        if kind == "comment":
            at = _after_comment(text, at)
            continue
        if kind in ("escaped", "odd", "text", "quoted"):
            at = _after_quote(text, at, kind)
        elif kind == "dollar":
            end = text.find(match[0], at)
            at = end + len(match[0]) if end >= 0 else len(text)
        if kind == "end":
            if words:
                yield words, text[begin : min(at, begin + _BEGINNING)]
            words = []
            continue
        if not words:
            begin = match.start()
        if len(words) <= MOST_WORDS:
            words.append(_word(kind, text[match.start() : at]))
    if words:
        yield [Word("odd", "")], text[begin : begin + _BEGINNING]


def _after_quote(text: str, at: int, kind: str) -> int:
    """Where a text or name ends whose first quote ends at ``at``."""
    quote = text[at - 1]
    for found in (_ESCAPED_QUOTES if kind == "escaped" else _QUOTES[quote]).finditer(text, at):
        if found[0] == quote:
            return found.end()
    raise GlobalsUnfit(f"a quote before letter {at} has no end")


def _after_comment(text: str, at: int) -> int:
    """Where a comment ends whose first mark ends at ``at``; they may lie within each other."""
    depth = 1
    for edge in _COMMENT_EDGE.finditer(text, at):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(text)


def _word(kind: str, found: str) -> Word:
    if len(found) > _LONGEST:
        return Word("odd", "")
    if kind == "quoted":
        return Word("quoted", found[1:-1].replace('""', '"'))
    if kind == "text":
        return Word("text", found[1:-1].replace("''", "'"))
    if kind == "escaped":
        return _escaped(found[2:-1])
    if kind in ("name", "number", "mark"):
        return Word(kind, found)
    return Word("odd", found)


#: the letters after a backslash that mean nothing but a letter; pg_dumpall writes only the first
_ESCAPES = {"\\": "\\", "'": "'", "n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


def _escaped(inside: str) -> Word:
    """What ``E'...'`` holds; bytes by their number are no part of what pg_dumpall writes."""
    if any(match[1] not in _ESCAPES for match in re.finditer(r"\\(.)", inside, re.DOTALL)):
        return Word("odd", inside)
    return Word(
        "text",
        re.sub(
            r"\\(.)|''",
            lambda match: _ESCAPES[match[1]] if match[1] else "'",
            inside,
            flags=re.DOTALL,
        ),
    )
