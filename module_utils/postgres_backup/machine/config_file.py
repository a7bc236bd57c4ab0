"""The settings of one server, read from the config file that the role ``backup`` writes."""

from __future__ import annotations

import io
import os
import re
import shlex
import stat
from collections.abc import Mapping

from ..errors import UsageError
from ..settings import Settings, variables
from ..text import printable
from .files import read_bounded

DEFAULT_CONFIG = "/etc/postgres-backup/backup-config.env"
_ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
#: an assignment as no shell reads it: ``NAME = value``, ``NAME= value``
_APART = re.compile(r"(?:export )?([A-Za-z_][A-Za-z0-9_]*)(?: =.*|= .*)", re.DOTALL)
#: files that lie beside the config, whatever its folder, where it names no others
_BESIDE = {"SIGNING_KEY_FILE": "signing.key", "TRUSTED_SIGNERS_FILE": "trusted_signers"}
_BUCKET = ("S3_ENDPOINT_URL", "S3_BUCKET_NAME", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_REQUIRED = ("SERVER_NAME", "DB_NAME", "DB_USER", *_BUCKET)
#: lists whose members may hold blanks, each quoted as a shell would; and an example
_LISTS = {
    "BACKUP_PATHS": "paths with blanks, and the whole once more: "
    "BACKUP_PATHS=\"/srv/crm/.env '/srv/two words'\"",
    "BACKUP_PATHS_ELSEWHERE": "paths with blanks, and the whole once more: "
    "BACKUP_PATHS_ELSEWHERE=\"/srv/crm/cache '/srv/two words'\"",
    "DRILL_QUERIES": "each, and the whole once more; setup.yml writes it from backup_drill_queries",
}
#: digits of a number at most, letters of a value that a message quotes
_DIGITS, _QUOTED = 15, 60
#: bytes of a config, and lines of one value, at most
_LARGEST, _LINES = 1 << 20, 1000
#: what PostgreSQL and paths may have in a name, and what nothing else may
_ANY_LETTERS = ("DB_NAME", "DB_NAMES", "DB_USER", "DB_PASSWORD", *_LISTS)
_NUL, _CONTROL = re.compile("\0"), re.compile("[\0-\x08\x0a-\x1f\x7f]")
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
    if text.startswith("\ufeff"):
        raise UsageError(
            f"{source} begins with a byte order mark, which no shell reads",
            f"Save it as UTF-8 without one: sed -i '1s/^\\xEF\\xBB\\xBF//' {shlex.quote(source)}",
        )
    values: dict[str, str] = {}
    pending, began = "", 1
    for number, line in enumerate(io.StringIO(text, newline="\n"), 1):
        began = began if pending else number
        pending += line
        words = _words(pending)
        if words is None and number - began < _LINES:
            continue  # a quoted value goes on in the next line
        if words is None:
            break
        pending = ""
        if not words:
            continue
        if words[0] == "export" and len(words) == 2:
            words = words[1:]
        found = _ASSIGNMENT.fullmatch(words[0]) if len(words) == 1 else None
        if len(words) > 1 and (apart := _APART.fullmatch(" ".join(words))):
            raise UsageError(
                f"Line {number} of {source} has a blank beside the = of {apart[1]}",
                f"Write it without: {apart[1]}=value",
            )
        if not found:
            raise UsageError(
                f"Line {number} of {source} is not NAME=value",
                "Quote values with blanks: NAME='two words'",
            )
        values[found[1]] = found[2]
    if pending:
        name = found[1] if (found := _ASSIGNMENT.match(pending.lstrip())) else "no name"
        raise UsageError(
            f"The quote that line {began} of {source} opens ({name}) is never closed",
            "Close it in the same line: NAME='two words'",
        )
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
    faults: list[str] = []
    for field, (variable, kind) in variables().items():
        value = values.get(variable.name)
        if field != "databases" and value is not None and (value or variable.or_empty):
            try:
                made = _convert(variable.name, value, kind, source)
                variable.require(made)
            except UsageError as wrong:
                if not variable.prunes:
                    raise
                faults.append(wrong.message)
            else:
                fields[field] = made
    for name in ("DB_NAME", "DB_NAMES"):
        _require_letters(name, values.get(name, ""), source)
    fields["retention_fault"] = "; ".join(faults)
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


def _require_letters(variable: str, value: str, source: str) -> None:
    """:raises UsageError: it holds what no name, path or address has, and no program is given."""
    if wrong := (_NUL if variable in _ANY_LETTERS else _CONTROL).search(value):
        raise UsageError(
            f"{variable} in {source} holds the character {ord(wrong[0])} (of a line break, or "
            "another that cannot be seen)",
            f"Write the value in one line: {variable}=value",
        )


def _convert(variable: str, value: str, kind: object, source: str) -> object:
    _require_letters(variable, value, source)
    told = repr(value) if len(value) <= _QUOTED else f"{value[:_QUOTED]!r}..."
    if kind is int:
        if not re.fullmatch(rf"-?[0-9]{{1,{_DIGITS}}}", value.strip()):
            raise UsageError(
                f"{variable} in {source} is {told}, not a whole number", "Write it in digits: 7"
            )
        return int(value)
    if kind is float:
        if not re.fullmatch(rf"-?[0-9]{{1,{_DIGITS}}}(\.[0-9]{{0,{_DIGITS}}})?", value.strip()):
            raise UsageError(
                f"{variable} in {source} is {told}, not a number", "Write it with a point: 0.02"
            )
        return float(value)
    if kind is bool:
        if value.lower() not in ("true", "false", "yes", "no", "1", "0"):
            raise UsageError(
                f"{variable} in {source} is {told}, neither true nor false",
                f"Write {variable}=true or {variable}=false",
            )
        return value.lower() in ("true", "yes", "1")
    if kind is str:
        return value
    example = _LISTS.get(variable)
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
    try:
        data, mode = read_bounded(path, _LARGEST)
        text = data.decode()
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
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        name = data.splitlines()[line - 1].partition(b"=")[0].decode(errors="replace")
        raise UsageError(
            f"Line {line} of the config {path} is not UTF-8 ({printable(name[:_QUOTED])})",
            "Save the file as UTF-8, without a byte order mark",
        ) from None
    except (OSError, ValueError) as error:  # or there can be no such name
        cause = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"Failed to read the config {path}: {cause}", "Name a file with --config FILE"
        ) from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(
            f"The config {path} holds secrets and others may read it",
            f"chmod 0600 {shlex.quote(path)}",
        )
    return of_text(text, path, bucket_only)


def with_value(text: str, name: str, value: str) -> str | None:
    """A config with another value of one variable, all else as it was; None where that cannot be
    told from the text.
    """
    line = f"{name}={shlex.quote(value)}"
    changed, count = re.subn(rf"(?m)^{name}=.*$", lambda _: line, text)
    if not count:
        changed = f"{text.rstrip()}\n{line}\n"
    try:
        same = parse(changed) == {**parse(text), name: value}
    except UsageError:
        return None
    return changed if same and count < 2 else None


def of_text(text: str, path: str, bucket_only: bool = False) -> Settings:
    """The settings of a config file that has this text.

    :param path: where it lies, or would; beside it lie the files that it does not name.
    :raises UsageError: see :func:`parse` and :func:`from_values`.
    """
    folder = os.path.dirname(os.path.abspath(path))
    return from_values(parse(text, path), path, bucket_only, folder)
