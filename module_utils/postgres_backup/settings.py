"""The settings of one server: read from the config file that the role ``backup`` writes.

The file is a list of shell assignments, so that a person may ``source`` it and use stock tools. It is
read here without a shell. Names and meanings: ``CONTRACT`` in docs/reference.md.
"""

from __future__ import annotations

import dataclasses
import io
import os
import re
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path

from .errors import UsageError

DEFAULT_CONFIG = "/etc/postgres-backup/backup-config.env"
#: S3 allows at most this many parts in one upload
S3_MAX_PARTS = 10_000
_ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything a run needs to know; secrets are left out of its ``repr``."""

    server_name: str
    databases: tuple[str, ...]
    db_user: str
    s3_endpoint_url: str
    s3_bucket: str
    s3_access_key: str = dataclasses.field(repr=False)
    s3_secret_key: str = dataclasses.field(repr=False)
    db_host: str = "localhost"
    db_port: int = 5432
    db_password: str = dataclasses.field(default="", repr=False)
    #: name of the container whose own programs dump and load; empty: this machine's
    db_container: str = ""
    #: folder of pg_dump and psql; empty: the newest installed one that fits the server
    pg_bin_dir: str = ""
    s3_region: str = "us-east-1"
    s3_prefix: str = "postgres-backup"
    #: "path" or "virtual"
    s3_addressing_style: str = "path"
    #: file of CA certificates to trust instead of the system's
    s3_ca_bundle: str = ""
    s3_max_parts: int = S3_MAX_PARTS
    format: str = "plain"
    compression: str = "gzip"
    retention_days: int = 7
    keep_weekly: int = 0
    keep_monthly: int = 0
    #: the nightly run deletes what the retention no longer keeps; not so where its key may not delete, and somebody else does
    prune_nightly: bool = True
    #: days for which databases replaced by a restore are kept
    keep_replaced_days: int = 7
    age_recipients: tuple[str, ...] = ()
    #: restore inside the live database, in one transaction, where there is no room for a second copy
    restore_in_place: bool = False
    #: files and folders of the server kit
    paths: tuple[str, ...] = ()
    #: the kit may lie in the bucket unencrypted
    kit_plain: bool = False
    #: daily, UTC, HH:MM
    schedule_time: str = "00:00"
    #: hours after which the newest good backup is too old: a day, and two for a night that took long
    fresh_hours: int = 26
    #: a backup or a table that is so many percent smaller, or larger, than the last ones used to be is told of; 0: never
    size_drop_percent: int = 30
    size_jump_percent: int = 200
    #: what a GB costs a month, what 1,000 requests cost, and in which currency; 0: costs are not told
    price_gb_month: float = 0.0
    price_requests_1000: float = 0.0
    price_currency: str = ""
    alert_urls: tuple[str, ...] = dataclasses.field(default=(), repr=False)
    ping_url: str = dataclasses.field(default="", repr=False)
    state_dir: str = "/var/lib/postgres-backup"
    metrics_file: str = ""

    def __post_init__(self) -> None:
        for problem, hint in _problems(self):
            raise UsageError(problem, hint)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every value that must never be shown."""
        return tuple(v for v in (self.db_password, self.s3_secret_key, self.ping_url, *self.alert_urls) if v)

    def hide(self, text: str) -> str:
        """``text`` with every secret blotted out, where it stands as a word of its own (a password ``postgres`` must not eat the names of backups)."""
        for secret in self.secrets:
            text = re.sub(rf"(?<![\w-]){re.escape(secret)}(?![\w-])", "********", text)
        return text

    def for_database(self, name: str) -> str:
        """``name``, or the only database where it is empty.

        :raises UsageError: not one of the databases, or empty where there are several.
        """
        if not name and len(self.databases) == 1:
            return self.databases[0]
        if name in self.databases:
            return name
        known = ", ".join(self.databases)
        if not name:
            raise UsageError(f"Which database? There are {len(self.databases)}: {known}", "Name one: --database NAME (Ansible: -e database=NAME)")
        raise UsageError(f"The database {name!r} is not in the settings", f"These are: {known}")


#: variable of the file -> field; what is not here is unknown to us and left alone
_FIELDS = {
    "SERVER_NAME": "server_name",
    "DB_HOST": "db_host",
    "DB_PORT": "db_port",
    "DB_USER": "db_user",
    "DB_PASSWORD": "db_password",
    "DB_CONTAINER": "db_container",
    "PG_BIN_DIR": "pg_bin_dir",
    "S3_ENDPOINT_URL": "s3_endpoint_url",
    "S3_REGION": "s3_region",
    "S3_BUCKET_NAME": "s3_bucket",
    "S3_PREFIX": "s3_prefix",
    "S3_ADDRESSING_STYLE": "s3_addressing_style",
    "S3_CA_BUNDLE": "s3_ca_bundle",
    "S3_MAX_PARTS": "s3_max_parts",
    "AWS_ACCESS_KEY_ID": "s3_access_key",
    "AWS_SECRET_ACCESS_KEY": "s3_secret_key",
    "BACKUP_FORMAT": "format",
    "BACKUP_COMPRESSION": "compression",
    "RETENTION_DAYS": "retention_days",
    "KEEP_WEEKLY": "keep_weekly",
    "KEEP_MONTHLY": "keep_monthly",
    "PRUNE_NIGHTLY": "prune_nightly",
    "KEEP_REPLACED_DAYS": "keep_replaced_days",
    "AGE_RECIPIENTS": "age_recipients",
    "RESTORE_IN_PLACE": "restore_in_place",
    "BACKUP_PATHS": "paths",
    "KIT_PLAIN": "kit_plain",
    "SCHEDULE_TIME": "schedule_time",
    "FRESH_HOURS": "fresh_hours",
    "SIZE_DROP_PERCENT": "size_drop_percent",
    "SIZE_JUMP_PERCENT": "size_jump_percent",
    "PRICE_GB_MONTH": "price_gb_month",
    "PRICE_REQUESTS_1000": "price_requests_1000",
    "PRICE_CURRENCY": "price_currency",
    "ALERT_URLS": "alert_urls",
    "PING_URL": "ping_url",
    "STATE_DIR": "state_dir",
    "METRICS_FILE": "metrics_file",
}
_VARIABLES = {field: variable for variable, field in _FIELDS.items()}
_BUCKET = ("S3_ENDPOINT_URL", "S3_BUCKET_NAME", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_REQUIRED = ("SERVER_NAME", "DB_NAME", "DB_USER", *_BUCKET)


def _problems(s: Settings):
    def variable(field: str) -> str:
        return f"(in the config: {_VARIABLES[field]})"

    if not re.fullmatch(r"https?://[^/\s]+(/.*)?", s.s3_endpoint_url):
        yield (
            f"The S3 endpoint {s.s3_endpoint_url!r} is not an address {variable('s3_endpoint_url')}",
            "It begins with https:// (or http://), such as https://object.pscloud.io",
        )
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}", s.s3_bucket):
        yield (
            f"The bucket name {s.s3_bucket!r} is not one that S3 allows {variable('s3_bucket')}",
            "Small letters, digits, dots and hyphens; without s3:// and without a path",
        )
    if not 1 <= s.db_port <= 65535:
        yield f"The port {s.db_port} is not between 1 and 65535 {variable('db_port')}", ""
    if not all(s.databases):
        yield "No database is named (in the config: DB_NAME)", ""
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", s.schedule_time):
        yield f"The schedule {s.schedule_time!r} is not a time of day {variable('schedule_time')}", "Write HH:MM in UTC, such as 00:00"
    choices = {"format": ("plain", "custom"), "compression": ("gzip", "zstd"), "s3_addressing_style": ("path", "virtual")}
    for field, allowed in choices.items():
        if getattr(s, field) not in allowed:
            yield f"{getattr(s, field)!r} is none of {', '.join(allowed)} {variable(field)}", ""
    if s.retention_days < 1:
        yield f"A retention of {s.retention_days} days would keep nothing {variable('retention_days')}", "Keep at least 1 day; 7 is the default"
    if s.fresh_hours < 1:
        yield f"{s.fresh_hours} hours: every backup would be too old {variable('fresh_hours')}", "26 is the default: a day, and two hours for a long night"
    if not 0 <= s.size_drop_percent < 100:
        yield f"A drop by {s.size_drop_percent} percent cannot be {variable('size_drop_percent')}", "1 to 99; 0 is never told of"
    for field in ("keep_weekly", "keep_monthly", "keep_replaced_days", "size_jump_percent", "price_gb_month", "price_requests_1000"):
        if getattr(s, field) < 0:
            yield f"{getattr(s, field)} is below zero {variable(field)}", ""
    if not 1 <= s.s3_max_parts <= S3_MAX_PARTS:
        yield f"{s.s3_max_parts} parts: S3 allows 1 to {S3_MAX_PARTS} {variable('s3_max_parts')}", ""


#: a piece of a word: in single quotes, in double quotes, after a backslash, or as it stands
_PIECE = re.compile(r"""'(?P<single>[^']*)'|"(?P<double>(?:[^"\\]|\\.)*)"|\\(?P<escaped>.)|(?P<bare>[^ \t\r\n'"\\]+)""", re.DOTALL)


def _words(text: str) -> list[str] | None:
    """Words as a POSIX shell cuts them; None where a quote is still open.

    ``shlex`` would take a ``#`` in the middle of a word for a comment, and cut a password short.
    """
    words, at = [], 0
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
            if piece.lastgroup == "double":
                word += re.sub(r'\\([$`"\\])|\\\n', lambda found: found[1] or "", piece["double"])
            elif piece.lastgroup == "escaped":
                word += piece["escaped"].replace("\n", "")
            else:
                word += piece[piece.lastgroup]
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
            raise UsageError(f"Line {number} of {source} is not NAME=value", "Quote values with blanks: NAME='two words'")
        values[found[1]] = found[2]
    if pending:
        raise UsageError(f"A quote in {source} is never closed", "")
    return values


def from_values(values: Mapping[str, str], source: str = "the config", bucket_only: bool = False) -> Settings:
    """Settings from the variables of a config file.

    ``DB_NAME`` names one database; ``DB_NAMES`` several, quoted as a shell would.

    :param bucket_only: endpoint, bucket and key are enough: whose backups there are is what is asked. What is missing is empty then.
    :raises UsageError: a variable is missing or its value makes no sense; the message names it.
    """
    missing = [name for name in (_BUCKET if bucket_only else _REQUIRED) if not values.get(name) and not (name == "DB_NAME" and values.get("DB_NAMES"))]
    if missing:
        raise UsageError(f"Missing in {source}: {', '.join(missing)}", "Run `ansible-playbook setup.yml`, or add them to the file")
    fields: dict[str, object] = {}
    types = {field.name: str(field.type) for field in dataclasses.fields(Settings)}
    for variable, field in _FIELDS.items():
        value = values.get(variable, "")
        if value == "" and field not in ("s3_prefix", "db_password"):
            continue
        if variable not in values:
            continue
        fields[field] = _convert(variable, value, types[field], source)
    several = _words(values.get("DB_NAMES", ""))
    if several is None:
        raise UsageError(
            f"DB_NAMES in {source} has a quote that is never closed", "Quote names with blanks, and the whole once more: DB_NAMES=\"crm 'two words'\""
        )
    fields["databases"] = tuple(dict.fromkeys(several)) or tuple(filter(None, [values.get("DB_NAME")]))
    fields = {"server_name": "", "db_user": ""} | fields
    return Settings(**fields)  # type: ignore[arg-type]


def _convert(variable: str, value: str, kind: str, source: str) -> object:
    if kind == "int":
        if not re.fullmatch(r"-?\d+", value.strip()):
            raise UsageError(f"{variable} in {source} is {value!r}, not a whole number", "")
        return int(value)
    if kind == "float":
        if not re.fullmatch(r"-?\d+(\.\d*)?", value.strip()):
            raise UsageError(f"{variable} in {source} is {value!r}, not a number", "Write it with a point: 0.02")
        return float(value)
    if kind == "bool":
        if value.lower() not in ("true", "false", "yes", "no", "1", "0"):
            raise UsageError(f"{variable} in {source} is {value!r}, neither true nor false", "")
        return value.lower() in ("true", "yes", "1")
    if kind.startswith("tuple"):
        return tuple(shlex.split(value)) if variable == "BACKUP_PATHS" else tuple(value.split())
    return value


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
        raise UsageError(f"There is no config {path}", "Run `ansible-playbook setup.yml`, or name another with --config FILE") from None
    except PermissionError:
        raise UsageError(
            f"The config {path} may be read only by its owner", f"Run this as that user or as root: sudo postgres-backup ... --config {path}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Failed to read the config {path}: {error}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(f"The config {path} holds secrets and others may read it", f"chmod 0600 {shlex.quote(os.fspath(file))}")
    return from_values(parse(text, path), path, bucket_only)
