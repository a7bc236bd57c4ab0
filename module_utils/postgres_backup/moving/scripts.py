"""What a backup script of shell says of itself: that it is one, of which database, where its
settings lie. It is read, never run, and nothing in it is expanded but its own plain variables.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import UsageError
from ..machine.config_file import parse
from ..machine.files import read_bounded

#: bytes of a script or its config at most
_LARGEST = 1 << 20
#: how a script sends its dump to a bucket
_UPLOADS = re.compile(r"\b(aws\s[^\n|;]*\bs3(api)?\b|s3cmd|s5cmd|rclone|mc\s+(cp|pipe))\b")
_DUMPS = re.compile(r"\bpg_dump\b([^|;&\n]*)")
_SOURCED = re.compile(r"^\s*(?:\.|source)\s+(\S+)", re.MULTILINE)
_ASSIGNED = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$", re.MULTILINE)
#: ``$NAME``, ``${NAME}``, ``${NAME:-default}``
_VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?::?-([^${}]*))?\})")
#: how a script finds the folder that it lies in
_OWN_FOLDER = re.compile(r"\$\(\s*cd\b[^()]*(\$\([^()]*\))?[^()]*\)|\$\(\s*dirname[^()]*\)")
_CONFIG = "backup-config.env"
#: options of pg_dump whose value is another word than the database
_OTHER_VALUES = frozenset(
    "-h --host -p --port -U --username -n --schema -N --exclude-schema -t --table -T"
    " --exclude-table -f --file -F --format -j --jobs -Z --compress -E --encoding --role".split()
)
#: names by which scripts know the database, the machine it is on and its port
DATABASE = ("DB_NAME", "PGDATABASE", "POSTGRES_DB", "DATABASE")
HOST = ("DB_HOST", "PGHOST", "POSTGRES_HOST")
PORT = ("DB_PORT", "PGPORT", "POSTGRES_PORT")
LOG = ("LOG_FILE", "LOGFILE", "LOG")


@dataclass(frozen=True)
class Script:
    """A script that dumps a database into a bucket.

    :param path: its own.
    :param config: the file with its settings; empty: it has none.
    :param values: its variables, and its config's, as far as they are plain.
    :param databases: those that it may dump, by what it says; empty: it does not say.
    """

    path: str
    config: str
    values: Mapping[str, str]
    databases: frozenset[str]


def read_script(path: str) -> Script | None:
    """The script at a path; None where none is, or it is no backup script."""
    text = text_of(path)
    if text is None or not (_DUMPS.search(text) and _UPLOADS.search(text)):
        return None
    folder = os.path.dirname(os.path.realpath(path))
    values = _plain(text, {})
    config = _config_of(text, values, folder)
    if config:
        # what a script says after it has read its config counts, but its defaults do not
        values = _plain(text, config_values(config))
    return Script(path, config, values, _databases(text, values))


def config_values(path: str) -> dict[str, str]:
    """The variables of a script's config; of a line that is none, nothing.

    :raises UsageError: there is no such file, or it cannot be read.
    """
    text = text_of(path)
    if text is None:
        raise UsageError(
            f"Failed to read {path}: it is no text, or there is no such file",
            f"Look at what lies there: ls -l {shlex.quote(path)}",
        )
    try:
        return {name: expanded(value, {}) for name, value in parse(text, path).items()}
    except UsageError:  # a line in it is a command: the others are still settings
        return _plain(text, {})


def expanded(value: str, values: Mapping[str, str]) -> str:
    """A value with the plain variables in it replaced; what is unknown stays as it is."""

    def known(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        return values.get(name) or (found[3] if found[3] is not None else found[0])

    return _VARIABLE.sub(known, value)


def first(values: Mapping[str, str], names: tuple[str, ...]) -> str:
    """The value of the first of these names that has one."""
    return next((values[name] for name in names if values.get(name)), "")


def text_of(path: str, errors: str = "replace") -> str | None:
    """What a file says; None where there is none, or it is no text.

    :param errors: what becomes of bytes that are not UTF-8, as ``bytes.decode`` has it.
    """
    try:
        data, _ = read_bounded(path, _LARGEST)
    except (OSError, UsageError, ValueError):
        return None
    return None if b"\0" in data else data.decode("utf-8", errors)


def _plain(text: str, given: Mapping[str, str]) -> dict[str, str]:
    """The assignments of one line each whose value is a word, on top of those given."""
    values = dict(given)
    for name, value in _ASSIGNED.findall(text):
        try:
            words = shlex.split(value, comments=True)
        except ValueError:  # a quote goes on in the next line
            continue
        if len(words) == 1 and "$(" not in value and "`" not in value:
            values[name] = expanded(words[0], values)
    return values


def _config_of(text: str, values: Mapping[str, str], folder: str) -> str:
    """The file that a script reads its settings from; the one beside it where it does not say."""
    named = [*_SOURCED.findall(text), *(value for value in values.values() if _CONFIG in value)]
    named += re.findall(rf"[^\s\"'=]*{re.escape(_CONFIG)}", text)
    for name in [*named, _CONFIG]:
        plain = _OWN_FOLDER.sub(folder, name.strip("\"'"))
        plain = expanded(plain, {**values, "SCRIPT_DIR": folder, "DIR": folder, "HERE": folder})
        path = os.path.normpath(os.path.join(folder, plain))
        if "$" not in path and os.path.isfile(path):
            return path
    return ""


def _databases(text: str, values: Mapping[str, str]) -> frozenset[str]:
    """What it calls its database; else the words of its pg_dump that may be its name."""
    if name := first(values, DATABASE):
        return frozenset([name])
    found: set[str] = set()
    for options in _DUMPS.findall(text.replace("\\\n", " ")):
        words = [expanded(word, values) for word in re.sub("[\"']", " ", options).split()]
        for before, word in zip(["", *words], words, strict=False):
            if before in _OTHER_VALUES:
                continue
            plain = word.removeprefix("--dbname=").removeprefix("-d")
            found |= {plain, plain.rpartition("/")[2].partition("?")[0]}
    return frozenset(
        word for word in found if word and not word.startswith("-") and "$" not in word
    )
