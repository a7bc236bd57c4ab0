"""The settings of one server: read from the config file that the role ``backup`` writes.

The file is a list of shell assignments, so that a person may ``source`` it and use stock tools. It
is read here without a shell. Names and meanings: ``CONTRACT`` in docs/reference.md.
"""

from __future__ import annotations

import dataclasses
import re

from .errors import UsageError

#: S3 allows at most this many parts in one upload
S3_MAX_PARTS = 10_000


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
    #: the nightly run deletes what the retention no longer keeps; not so where its key may not
    #: delete, and somebody else does
    prune_nightly: bool = True
    #: days for which databases replaced by a restore are kept
    keep_replaced_days: int = 7
    age_recipients: tuple[str, ...] = ()
    #: restore inside the live database, in one transaction, where there is no room for a second
    #: copy
    restore_in_place: bool = False
    #: files and folders of the server kit
    paths: tuple[str, ...] = ()
    #: the kit may lie in the bucket unencrypted
    kit_plain: bool = False
    #: daily, UTC, HH:MM
    schedule_time: str = "00:00"
    #: hours after which the newest good backup is too old: a day, and two for a night that took
    #: long
    fresh_hours: int = 26
    #: a backup or a table that is so many percent smaller, or larger, than the last ones used to be
    #: is told of; 0: never
    size_drop_percent: int = 30
    size_jump_percent: int = 200
    #: what a GB costs a month, what 1,000 requests cost, and in which currency; 0: costs are not
    #: told
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
        return tuple(
            v for v in (self.db_password, self.s3_secret_key, self.ping_url, *self.alert_urls) if v
        )

    def hide(self, text: str) -> str:
        """``text`` with every secret blotted out, where it stands as a word of its own (a password
        ``postgres`` must not eat the names of backups).
        """
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
            raise UsageError(
                f"Which database? There are {len(self.databases)}: {known}",
                "Name one: --database NAME (Ansible: -e database=NAME)",
            )
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
        yield (
            f"The schedule {s.schedule_time!r} is not a time of day {variable('schedule_time')}",
            "Write HH:MM in UTC, such as 00:00",
        )
    choices = {
        "format": ("plain", "custom"),
        "compression": ("gzip", "zstd"),
        "s3_addressing_style": ("path", "virtual"),
    }
    for field, allowed in choices.items():
        if getattr(s, field) not in allowed:
            yield f"{getattr(s, field)!r} is none of {', '.join(allowed)} {variable(field)}", ""
    if s.retention_days < 1:
        yield (
            f"A retention of {s.retention_days} days would keep nothing {variable('retention_days')}",
            "Keep at least 1 day; 7 is the default",
        )
    if s.fresh_hours < 1:
        yield (
            f"{s.fresh_hours} hours: every backup would be too old {variable('fresh_hours')}",
            "26 is the default: a day, and two hours for a long night",
        )
    if not 0 <= s.size_drop_percent < 100:
        yield (
            f"A drop by {s.size_drop_percent} percent cannot be {variable('size_drop_percent')}",
            "1 to 99; 0 is never told of",
        )
    for field in (
        "keep_weekly",
        "keep_monthly",
        "keep_replaced_days",
        "size_jump_percent",
        "price_gb_month",
        "price_requests_1000",
    ):
        if getattr(s, field) < 0:
            yield f"{getattr(s, field)} is below zero {variable(field)}", ""
    if not 1 <= s.s3_max_parts <= S3_MAX_PARTS:
        yield (
            f"{s.s3_max_parts} parts: S3 allows 1 to {S3_MAX_PARTS} {variable('s3_max_parts')}",
            "",
        )
