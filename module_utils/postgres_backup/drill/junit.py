"""The checks of a drill as JUnit writes them, for whatever shows tests."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from xml.etree import ElementTree

from ..errors import UsageError
from ..machine.files import replace_file
from .levels import Check

#: what XML has no letter for
_UNFIT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


_HINT = "--junit takes the path of a file in a folder that is there and that this user may write to"


def require_writable(path: str) -> None:
    """Before hours are spent on what cannot be written then.

    :raises UsageError: it names a folder, or lies where nothing can be made.
    """
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(path) or not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise UsageError(f"{path} cannot be written", _HINT)


def text_of(suite: str, checks: Sequence[Check], failing: Sequence[str], seconds: float) -> bytes:
    """The checks as XML: what failed is a failure, what nobody could look at an error (none reads
    as passed), and warnings stand in the output of their case.

    :param suite: whose drill it is: server, database, backup.
    :param failing: the outcomes that fail (``--fail-on``).
    """
    cases = []
    failures = errors = 0
    for check in checks:
        case = ElementTree.Element("testcase", classname=_fit(suite), name=_fit(check["check"]))
        says, outcome = _fit("\n".join(check["says"])), check["outcome"]
        if outcome == "unchecked":
            errors += 1
            told = ElementTree.SubElement(case, "error", message="not checked")
            told.text = says or "the drill ended before it came to it"
        elif outcome in failing:
            failures += 1
            told = ElementTree.SubElement(case, "failure", message=says.partition("\n")[0])
            told.text = says
        elif says:
            ElementTree.SubElement(case, "system-out").text = f"{outcome}: {says}"
        cases.append(case)
    root = ElementTree.Element(
        "testsuite",
        name=_fit(suite),
        tests=str(len(cases)),
        failures=str(failures),
        errors=str(errors),
        time=f"{seconds:.1f}",
    )
    root.extend(cases)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def write(path: str, text: bytes) -> None:
    """All of it or nothing.

    :raises UsageError: it cannot be written; the drill is done all the same.
    """
    try:
        replace_file(path, text)
    except OSError as error:
        raise UsageError(f"Failed to write {path}: {error.strerror}", _HINT) from None


def _fit(text: str) -> str:
    return _UNFIT.sub("\ufffd", text)
