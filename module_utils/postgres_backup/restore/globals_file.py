"""The file with a server's roles that lies beside a backup, as ``pg_dumpall --globals-only`` wrote
it: read, and never run.

:mod:`globals_words` cuts it into words, and only statements of the few kinds below are understood.
Whatever else stands there is counted and passed over. Pure.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import string
from collections.abc import Sequence

from ..text import printable
from .globals_words import MOST_WORDS, GlobalsUnfit, Word
from .globals_words import statements as statements_of
from .role_statements import (
    ATTRIBUTES,
    MEMBER_OPTIONS,
    Attributes,
    CreateRole,
    Membership,
    RoleComment,
    RoleSetting,
    Statement,
)

#: statements of a file at most
_MOST_STATEMENTS = 250_000
#: letters of a statement that is named
_QUOTED = 60

#: names that are not quoted are folded, and of that only these letters
_SMALL = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)

#: statements that pg_dumpall writes and that make no role; a restore of a database needs none
_NOT_OURS = re.compile(
    r"SET |(CREATE|ALTER|COMMENT ON) TABLESPACE |SECURITY LABEL |SELECT pg_catalog\.set_config|"
    r"(GRANT|REVOKE) .* ON (TABLESPACE|PARAMETER) ",
    re.DOTALL,
)


@dataclasses.dataclass(frozen=True, slots=True)
class Globals:
    """What a file says of roles, in its order.

    :param left_out: statements that pg_dumpall does not write, their beginnings.
    """

    statements: tuple[Statement, ...] = ()
    left_out: tuple[str, ...] = ()


def read(text: str) -> Globals:
    """What a file says.

    :raises GlobalsUnfit: it holds a NUL, or more statements than there are roles anywhere.
    """
    if "\0" in text:
        raise GlobalsUnfit("it holds a NUL")
    statements: list[Statement] = []
    left_out: list[str] = []
    for count, (words, whole) in enumerate(statements_of(text)):
        if count == _MOST_STATEMENTS:
            raise GlobalsUnfit(f"it holds more than {_MOST_STATEMENTS} statements")
        try:
            statements.append(_Parser(words).statement())
        except _Unknown:
            if not _NOT_OURS.match(whole):
                # not what is quoted: it may be a password
                left_out.append(printable(whole.partition("'")[0][:_QUOTED]))
    return Globals(tuple(statements), tuple(left_out))


class _Unknown(Exception):
    """A statement of no kind that is known."""


@functools.lru_cache(maxsize=128)
def _shared(flags: tuple[tuple[str, bool], ...]) -> tuple[tuple[str, bool], ...]:
    """The same flags once in memory: thousands of roles have them."""
    return flags


class _Parser:
    """One statement, word by word."""

    def __init__(self, words: Sequence[Word]) -> None:
        self._words, self._at = words, 0

    def statement(self) -> Statement:
        """:raises _Unknown: it is none of ours."""
        if len(self._words) > MOST_WORDS:
            raise _Unknown
        found = self._statement()
        if self._at != len(self._words):
            raise _Unknown
        return found

    def _statement(self) -> Statement:
        if self._said("CREATE", "ROLE"):
            return CreateRole(self._name())
        if self._said("ALTER", "ROLE"):
            role = self._name()
            if self._said("WITH"):
                return self._attributes(role)
            database = self._name() if self._said("IN", "DATABASE") else ""
            self._must("SET")
            return self._setting(role, database)
        if self._said("COMMENT", "ON", "ROLE"):
            role = self._name()
            self._must("IS")
            return RoleComment(role, self._text())
        self._must("GRANT")
        return self._membership()

    def _attributes(self, role: str) -> Attributes:
        flags: dict[str, bool] = {}
        limit: int | None = None
        password = until = None
        while self._at < len(self._words):
            if self._said("CONNECTION", "LIMIT"):
                limit = self._number()
            elif self._said("PASSWORD"):
                password = None if self._said("NULL") else self._text()
            elif self._said("VALID", "UNTIL"):
                until = self._text()
            else:
                word = self._take("name").upper()
                flag = word.removeprefix("NO") if word[2:] in ATTRIBUTES else word
                if flag not in ATTRIBUTES:
                    raise _Unknown
                flags[flag] = flag == word
        return Attributes(role, _shared(tuple(flags.items())), limit, password, until)

    def _setting(self, role: str, database: str) -> RoleSetting:
        name = self._name()
        while self._mark("."):
            name += "." + self._name()
        if not self._said("TO") and not self._mark("="):
            raise _Unknown
        values = [self._value()]
        while self._mark(","):
            values.append(self._value())
        return RoleSetting(role, database, name, tuple(values))

    def _value(self) -> str:
        """Of a setting: a text, a number, or (before PostgreSQL 11) a name."""
        word = self._next()
        if word.kind not in ("text", "quoted", "name", "number"):
            raise _Unknown
        return word.value

    def _membership(self) -> Membership:
        group = self._name()
        self._must("TO")
        member = self._name()
        options: dict[str, bool] = {}
        if self._said("WITH"):
            while True:
                option = self._take("name").upper()
                if option not in MEMBER_OPTIONS:
                    raise _Unknown
                yes = self._said("OPTION") or self._said("TRUE")
                if not yes:
                    self._must("FALSE")
                options[option] = yes
                if not self._mark(","):
                    break
        grantor = self._name() if self._said("GRANTED", "BY") else ""
        return Membership(group, member, tuple(options.items()), grantor)

    def _next(self) -> Word:
        if self._at == len(self._words):
            raise _Unknown
        self._at += 1
        return self._words[self._at - 1]

    def _take(self, kind: str) -> str:
        word = self._next()
        if word.kind != kind:
            raise _Unknown
        return word.value

    def _said(self, *keywords: str) -> bool:
        """Whether these words stand here; then they are passed."""
        here = self._words[self._at : self._at + len(keywords)]
        if len(here) < len(keywords) or any(
            word.kind != "name" or word.value.upper() != keyword
            for word, keyword in zip(here, keywords, strict=True)
        ):
            return False
        self._at += len(keywords)
        return True

    def _must(self, *keywords: str) -> None:
        if not self._said(*keywords):
            raise _Unknown

    def _mark(self, mark: str) -> bool:
        if self._at < len(self._words) and self._words[self._at] == Word("mark", mark):
            self._at += 1
            return True
        return False

    def _name(self) -> str:
        word = self._next()
        if word.kind not in ("name", "quoted") or not word.value:
            raise _Unknown
        return word.value.translate(_SMALL) if word.kind == "name" else word.value

    def _text(self) -> str:
        return self._take("text")

    def _number(self) -> int:
        number = self._take("number")
        if not re.fullmatch(r"-?[0-9]{1,10}", number):
            raise _Unknown
        return int(number)
