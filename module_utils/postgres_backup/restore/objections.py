"""What stands in the way of a restore, gathered, so that whoever mends one thing does not learn of
the next only then. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import DatabaseError
from ..findings import finding


class Objections:
    """As a context manager it takes in what a check raises, and lets the next check begin."""

    def __init__(self) -> None:
        self.errors: list[DatabaseError] = []
        self._code = ""

    def add(self, code: str, message: str, hint: str, told: str = "") -> None:
        """:param told: what the finding says, where that is not the message."""
        self.errors.append(DatabaseError(message, hint, [finding(code, told or message)]))

    def called(self, code: str) -> Objections:
        """For a ``with`` block: what its check raises is of this code, where it names none."""
        self._code = code
        return self

    def __enter__(self) -> Objections:
        return self

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> bool:
        if not isinstance(error, DatabaseError):
            return False
        if self._code and not error.findings:
            error.findings = [finding(self._code, error.message)]
        self.errors.append(error)
        return True

    def raise_all(self, backup: str) -> None:
        """:raises DatabaseError: there is one; several are numbered, and so are their ways out
        where these are several.
        """
        if len(self.errors) == 1:
            raise self.errors[0]
        if self.errors:
            hints = [error.hint or "(see above)" for error in self.errors]
            raise DatabaseError(
                f"{len(self.errors)} things stand in the way of {backup}: "
                + _numbered([error.message for error in self.errors]),
                hints[0] if len(set(hints)) == 1 else _numbered(hints),
                [finding for error in self.errors for finding in error.findings],
            )


def _numbered(texts: Sequence[str]) -> str:
    return "; ".join(f"{number}. {text}" for number, text in enumerate(texts, 1))
