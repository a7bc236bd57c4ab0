"""The settings of one server, read from the config file that the role ``backup`` writes."""

from __future__ import annotations

import io
import os
import re
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path

from ..errors import UsageError
from ..settings import Settings, variables

DEFAULT_CONFIG = "/etc/postgres-backup/backup-config.env"
_ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
#: files that lie beside the config, whatever its folder, where it names no others
_BESIDE = {"SIGNING_KEY_FILE": "signing.key", "TRUSTED_SIGNERS_FILE": "trusted_signers"}
_BUCKET = ("S3_ENDPOINT_URL", "S3_BUCKET_NAME", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_REQUIRED = ("SERVER_NAME", "DB_NAME", "DB_USER", *_BUCKET)
#: lists whose members may hold blanks, each quoted as a shell would; and an example
_QUOTED = {
    "BACKUP_PATHS": "paths with blanks, and the whole once more: "
    "BACKUP_PATHS=\"/srv/crm/.env '/srv/two words'\"",
    "DRILL_QUERIES": "each, and the whole once more; setup.yml writes it from backup_drill_queries",
}
#: a piece of a word: in single quotes, in double quotes, after a backslash, or as it stands
_PIECE = re.compile(
    r"""'(?P<single>[^']*)'|"(?P<double>(?:[^"\\]|\\.)*)"|\\(?P<escaped>.)"""
    r"""|(?P<bare>[^ \t\r\n'"\\]+)""",
    re.DOTALL,
)


def _words(text: str) -> list[str] | None:
    """Words as a POSIX shell cuts them; None where a quote is still open.

    ``shlex`` would take a ``#`` in the middle of a word for a comment, and cut a password short.
    """
    words: list[str] = []
    at = 0
    while at < len(text):
        if text[at] in " \t\r\n":
            at += 1
            continue
        if text[at] == "#":
            at = end if (end := text.find("\n", at)) >= 0 else len(text)
            continue
        word = ""
        while at < len(text) and text[at] not in " \t\r\n":
            piece = _PIECE.match(text, at)
            if not piece:
                return None
            at = piece.end()
            kind = piece.lastgroup or ""
            if kind == "double":
                word += re.sub(r'\\([$`"\\])|\\\n', lambda found: found[1] or "", piece[kind])
            elif kind == "escaped":
                word += piece[kind].replace("\n", "")
            else:
                word += piece[kind]
        words.append(word)
    return words


def parse(text: str, source: str = "the config") -> dict[str, str]:
    """The assignments of a config file, unquoted as a POSIX shell would; nothing is expanded.

    :raises UsageError: a line is no assignment, or a quote is not closed.
    """
    values: dict[str, str] = {}
    pending = ""
    for number, line in enumerate(io.StringIO(text, newline="\n"), 1):
        pending += line
        words = _words(pending)
        if words is None:
            continue  # a quoted value goes on in the next line
        pending = ""
        if not words:
            continue
        if words[0] == "export" and len(words) == 2:
            words = words[1:]
        found = _ASSIGNMENT.fullmatch(words[0]) if len(words) == 1 else None
        if not found:
            raise UsageError(
                f"Line {number} of {source} is not NAME=value",
                "Quote values with blanks: NAME='two words'",
            )
        values[found[1]] = found[2]
    if pending:
        raise UsageError(f"A quote in {source} is never closed", "")
    return values


def from_values(
    values: Mapping[str, str],
    source: str = "the config",
    bucket_only: bool = False,
    folder: str = "",
) -> Settings:
    """Settings from the variables of a config file.

    ``DB_NAME`` names one database; ``DB_NAMES`` several, quoted as a shell would.

    :param bucket_only: endpoint, bucket and key are enough: whose backups there are is what is
        asked. What is missing is empty then.
    :param folder: the config's, where the files lie that it does not name; empty: there are none.
    :raises UsageError: a variable is missing or its value makes no sense; the message names it.
    """
    missing = [
        name
        for name in (_BUCKET if bucket_only else _REQUIRED)
        if not values.get(name) and not (name == "DB_NAME" and values.get("DB_NAMES"))
    ]
    if missing:
        raise UsageError(
            f"Missing in {source}: {', '.join(missing)}",
            "Run `ansible-playbook setup.yml`, or add them to the file",
        )
    if folder:
        beside = {name: os.path.join(folder, file) for name, file in _BESIDE.items()}
        values = {**values, **{name: values.get(name) or path for name, path in beside.items()}}
    fields: dict[str, object] = {"server_name": "", "db_user": ""}
    for field, (variable, kind) in variables().items():
        value = values.get(variable.name)
        if field != "databases" and value is not None and (value or variable.or_empty):
            fields[field] = _convert(variable.name, value, kind, source)
    several = _words(values.get("DB_NAMES", ""))
    if several is None:
        raise UsageError(
            f"DB_NAMES in {source} has a quote that is never closed",
            "Quote names with blanks, and the whole once more: DB_NAMES=\"crm 'two words'\"",
        )
    fields["databases"] = tuple(dict.fromkeys(several)) or tuple(
        filter(None, [values.get("DB_NAME")])
    )
    return Settings(**fields)  # type: ignore[arg-type]  # each is of its line's kind: _convert


def _convert(variable: str, value: str, kind: object, source: str) -> object:
    if kind is int:
        if not re.fullmatch(r"-?\d+", value.strip()):
            raise UsageError(f"{variable} in {source} is {value!r}, not a whole number", "")
        return int(value)
    if kind is float:
        if not re.fullmatch(r"-?\d+(\.\d*)?", value.strip()):
            raise UsageError(
                f"{variable} in {source} is {value!r}, not a number", "Write it with a point: 0.02"
            )
        return float(value)
    if kind is bool:
        if value.lower() not in ("true", "false", "yes", "no", "1", "0"):
            raise UsageError(f"{variable} in {source} is {value!r}, neither true nor false", "")
        return value.lower() in ("true", "yes", "1")
    if kind is str:
        return value
    example = _QUOTED.get(variable)
    return _quoted(variable, value, source, example) if example else tuple(value.split())


def _quoted(variable: str, value: str, source: str, example: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(value))
    except ValueError:  # a quote is open, or a backslash stands last
        raise UsageError(
            f"{variable} in {source} has a quote that is never closed",
            f"Quote {example}",
        ) from None


def load(path: str = DEFAULT_CONFIG, bucket_only: bool = False) -> Settings:
    """The settings in a config file.

    :param bucket_only: see :func:`from_values`.
    :raises UsageError: there is none, it cannot be read, or others than its owner may read it.
    """
    file = Path(path)
    try:
        mode = file.stat().st_mode
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(
            f"There is no config {path}",
            "Run `ansible-playbook setup.yml`, or name another with --config FILE",
        ) from None
    except PermissionError:
        raise UsageError(
            f"The config {path} may be read only by its owner",
            f"Run this as that user or as root: sudo postgres-backup ... --config {path}",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Failed to read the config {path}: {error}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(
            f"The config {path} holds secrets and others may read it",
            f"chmod 0600 {shlex.quote(os.fspath(file))}",
        )
    folder = os.path.dirname(os.path.abspath(path))
    return from_values(parse(text, path), path, bucket_only, folder)
