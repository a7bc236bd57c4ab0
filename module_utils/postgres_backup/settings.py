"""The settings of one server: read from the config file that the role ``backup`` writes.

The file is a list of shell assignments, so that a person may ``source`` it and use stock tools. It
is read by ``machine/config_file.py``. Names and meanings: ``CONTRACT`` in docs/reference.md.

A setting is one line of :class:`Settings`: its field, the kind of its value, the variable that it
comes from, what a value must be, and what holds where the file says nothing.
"""

from __future__ import annotations

import dataclasses
import functools
import ipaddress
import re
import urllib.parse
from collections.abc import Callable
from typing import Annotated, Generic, TypeVar, get_args, get_origin, get_type_hints

from .errors import UsageError

#: S3 allows at most this many parts in one upload
S3_MAX_PARTS = 10_000
#: bytes of a part at most: whoever uploads or reads one holds it whole
MOST_PART_BYTES = 96 * 1024 * 1024

#: letters of a value that a message quotes
_QUOTED = 60

_Value = TypeVar("_Value")


@dataclasses.dataclass(frozen=True)
class Rule(Generic[_Value]):
    """What a value must be.

    :ivar holds: tells it, by something true or not.
    :ivar says: what is wrong with a value that is not, which stands in its braces.
    :ivar hint: what to write instead; may be empty.
    """

    holds: Callable[[_Value], object]
    says: str
    hint: str = ""


@dataclasses.dataclass(frozen=True)
class Variable(Generic[_Value]):
    """Where a setting comes from.

    :ivar name: of the variable in the config file.
    :ivar rule: what its value must be.
    :ivar or_empty: ``NAME=`` is a value of its own; elsewhere it is as if the line were missing.
    :ivar prunes: only what deletes asks for it, so a wrong value stops nothing else.
    """

    name: str
    rule: Rule[_Value] | None = None
    or_empty: bool = False
    prunes: bool = False

    def require(self, value: _Value) -> None:
        """:raises UsageError: the value breaks its rule."""
        if self.rule is not None and not self.rule.holds(value):
            long = isinstance(value, str) and len(value) > _QUOTED
            told = f"{str(value)[:_QUOTED]}..." if long else value
            if isinstance(told, str):  # a password may stand in an address
                told = re.sub(r"//[^/]*@", "//********@", told)
            raise UsageError(
                f"{self.rule.says.format(told)} (in the config: {self.name})", self.rule.hint
            )


def _like(pattern: str) -> Callable[[str], object]:
    return re.compile(pattern).fullmatch


def _one_of(*allowed: str) -> Rule[str]:
    says = f"{{!r}} is none of {', '.join(allowed)}"
    return Rule(lambda value: value in allowed, says, f"Write one of them, such as {allowed[0]}")


def _is_endpoint(address: str) -> bool:
    """An address that the S3 client takes: a scheme, a host, perhaps a port and a path."""
    if not re.fullmatch(r"https?://[^/\s?#@]+(/[^\s?#]*)?", address):
        return False
    try:
        parts = urllib.parse.urlsplit(address)
        host, port = parts.hostname or "", parts.port  # a port that is none is a ValueError
        if "[" in parts.netloc:
            ipaddress.IPv6Address(host)
            return port != 0
    except ValueError:
        return False
    labels = host.removesuffix(".").split(".")
    return port != 0 and len(host) <= 255 and all(map(_is_label, labels))


_is_label = _like(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")


def _is_host(value: str) -> bool:
    """The folder of a socket, or what a resolver can be asked for; several between commas."""
    if value.startswith("/"):
        return True
    try:
        return not re.search(r"\s", value) and all(one.encode("idna") for one in value.split(","))
    except UnicodeError:  # a label that is empty or too long
        return False


#: days, hours and the like that a calendar can count with
_CENTURY = 36_500
#: how this machine is called as a host
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
_ENDPOINT = Rule(
    _is_endpoint,
    "The S3 endpoint {!r} is not an address",
    "It begins with https:// (or http://), such as https://object.pscloud.io; a port is between 1 "
    "and 65535",
)
_REGION = Rule(
    _like(r"(?![0-9]+$)(?!-)[A-Za-z0-9-]{1,63}(?<!-)"),
    "The S3 region {!r} is not the name of one",
    "Letters, digits and hyphens, such as us-east-1, which is what stores without regions take",
)
_HOST = Rule(
    _is_host,
    "The host {!r} is neither a name or an address nor the folder of a socket",
    "Such as localhost, db.example.org, 10.0.0.5 or /var/run/postgresql",
)
_BUCKET = Rule(
    _like(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}"),
    "The bucket name {!r} is not one that S3 allows",
    "Small letters, digits, dots and hyphens; without s3:// and without a path",
)


def _or_none(rule: Rule[str]) -> Rule[str]:
    """The same for what need not be set."""
    return Rule(lambda value: not value or rule.holds(value), rule.says, rule.hint)


_PREFIX = Rule[str](
    lambda prefix: len(prefix.encode()) <= 800,
    "The prefix {!r} is too long for the key of an object",
    "At most 800 bytes; postgres-backup is the default",
)
_PORT = Rule[int](
    lambda port: 1 <= port <= 65535,
    "The port {} is not between 1 and 65535",
    "PostgreSQL's is 5432",
)
_SSLMODE = _one_of("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_FILE = Rule(_like(r"(/.*)?"), "{!r} is not the path of a file", "Write it from the root: /etc/...")
_NAMED = Rule[tuple[str, ...]](all, "No database is named", "Such as DB_NAME=crm")
_TIME_OF_DAY = Rule(
    _like(r"([01]\d|2[0-3]):[0-5]\d"),
    "The schedule {!r} is not a time of day",
    "Write HH:MM in UTC, two digits each, such as 07:00",
)
_KEEPS_ANY = Rule[int](
    lambda days: 1 <= days <= _CENTURY,
    "A retention of {} days would keep nothing, or all",
    f"Write 1 to {_CENTURY}; 7 is the default",
)
_ANY_FRESH = Rule[int](
    lambda hours: 1 <= hours <= _CENTURY,
    "{} hours: every backup would be too old, or none ever",
    "26 is the default: a day, and two hours for a long night",
)
_DROP = Rule[int](
    lambda percent: 0 <= percent < 100,
    "A drop by {} percent cannot be",
    "1 to 99; 0 is never told of",
)
_LEAST = Rule[int](
    lambda percent: 0 <= percent <= 100,
    "A restore cannot ask for {} percent of the rows",
    "50 is the default; 0: any backup will do",
)
_JOBS = Rule[int](
    lambda jobs: 0 <= jobs <= 8,
    "A restore cannot work in {} sessions",
    "1 to 8; 0 is the default: as many as the machine has processors",
)
_RETRY = Rule[int](
    lambda hours: 0 <= hours <= 23,
    "{} hours of trying again would meet the next night",
    "0 to 23; 6 is the default, 0 is never",
)
_QUIET = Rule(
    _like(r"(([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d)?"),
    "The quiet hours {!r} are not from a time of day to another",
    "Write HH:MM-HH:MM in UTC, such as 08:00-18:00; empty is none",
)
_KEPT = Rule[int](
    lambda number: 0 <= number <= _CENTURY,
    f"{{}} is below zero or above {_CENTURY}",
    "0 keeps none on top",
)
_JUMP = Rule[int](
    lambda percent: 0 <= percent <= 1_000_000,
    "A growth by {} percent cannot be",
    "200 is the default; 0 is never told of",
)
_RATE = Rule[float](
    lambda rate: rate == 0 or 0.001 <= rate <= 1e6,
    "Drills cannot load {} megabytes a second",
    "20 is the default; 0: no bound",
)
_RTO = Rule[float](
    lambda minutes: 0 <= minutes <= 1e6,
    "A restore cannot be allowed {} minutes",
    "Such as 60; 0: drills do not tell",
)
_DRILL_DAYS = Rule[int](
    lambda days: 0 <= days <= _CENTURY,
    "A drill every {} days cannot be",
    "35 is the default; 0: nobody is told that one is overdue",
)
_JOURNAL_DAYS = Rule[int](
    lambda days: 0 <= days <= _CENTURY,
    "Events cannot be kept for {} days",
    "400 is the default; 0: for ever",
)
_PER_NIGHT = Rule[int](
    lambda count: 0 <= count <= 100,
    "{} backups cannot be read again each night",
    "1 is the default; 0: none",
)
_GB_A_MONTH = Rule[float](
    lambda size: size == 0 or 0.001 <= size <= 1e9,
    "{} GB a month cannot be read",
    "100 is the default; 0: no bound",
)
_PRICE = Rule[float](
    lambda price: 0 <= price <= 1e9, "{} is no price", "Such as 0.02; 0: costs are not told"
)
_CONTACT = Rule[str](
    lambda words: len(words) <= 500,
    "Whom to call, {!r}, is too long",
    "At most 500 letters, such as: Aigul, +7 700 000 00 00; at night the provider's hotline",
)
_RPO = Rule[int](
    lambda seconds: 60 <= seconds <= 86_400,
    "{} seconds of work cannot be what may be lost",
    "60 to 86400; 300 is the default",
)
_COPY_DAYS = Rule[int](
    lambda days: 0 <= days <= _CENTURY,
    "Copies cannot be kept for {} days",
    f"Write 1 to {_CENTURY}; 0: as long as in the first store, which is the default",
)
_PARTS = Rule[int](
    lambda parts: 1 <= parts <= S3_MAX_PARTS,
    f"{{}} parts: S3 allows 1 to {S3_MAX_PARTS}",
    f"{S3_MAX_PARTS} is the default",
)


#: names of the first store's settings, as errors have them
_OF_STORE = re.compile(
    r"\b(backup_s3_[a-z_]*[a-z]|backup_retention_days"
    r"|S3_(?:ENDPOINT_URL|REGION|BUCKET_NAME|PREFIX|CA_BUNDLE|MAX_PARTS)"
    r"|AWS_(?:ACCESS_KEY_ID|SECRET_ACCESS_KEY))\b"
)


def _of_copy(name: str) -> str:
    """What a setting of the first store is called of the second."""
    if name.startswith("backup_"):
        return "backup_copy_to." + name.removeprefix("backup_").removeprefix("s3_")
    return "COPY_" + name.removeprefix("S3_").removeprefix("AWS_")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything a run needs to know; secrets are left out of its ``repr``.

    The first line whose value breaks its rule is the one that is told.
    """

    server_name: Annotated[str, Variable("SERVER_NAME")]
    #: the file has DB_NAME for one, or DB_NAMES for several
    databases: Annotated[tuple[str, ...], Variable("DB_NAME", _NAMED)]
    db_user: Annotated[str, Variable("DB_USER")]
    s3_endpoint_url: Annotated[str, Variable("S3_ENDPOINT_URL", _ENDPOINT)]
    s3_bucket: Annotated[str, Variable("S3_BUCKET_NAME", _BUCKET)]
    s3_access_key: Annotated[str, Variable("AWS_ACCESS_KEY_ID")] = dataclasses.field(repr=False)
    s3_secret_key: Annotated[str, Variable("AWS_SECRET_ACCESS_KEY")] = dataclasses.field(repr=False)

    # the database
    db_host: Annotated[str, Variable("DB_HOST", _HOST)] = "localhost"
    db_port: Annotated[int, Variable("DB_PORT", _PORT)] = 5432
    db_password: Annotated[str, Variable("DB_PASSWORD")] = dataclasses.field(default="", repr=False)
    #: how the way to the server is encrypted, in libpq's words
    db_sslmode: Annotated[str, Variable("DB_SSLMODE", _SSLMODE)] = "prefer"
    #: file of the authorities to trust; empty: those of the system, where one must be trusted
    db_sslrootcert: Annotated[str, Variable("DB_SSLROOTCERT", _FILE)] = ""
    #: files of our own certificate and its key, for a server that asks for one
    db_sslcert: Annotated[str, Variable("DB_SSLCERT", _FILE)] = ""
    db_sslkey: Annotated[str, Variable("DB_SSLKEY", _FILE)] = ""
    #: the database to work from where the own one cannot be; empty: one is found
    db_maintenance: Annotated[str, Variable("DB_MAINTENANCE")] = ""
    #: name of the container whose own programs dump and load; empty: this machine's
    db_container: Annotated[str, Variable("DB_CONTAINER")] = ""
    #: folder of pg_dump and pg_restore; empty: the newest installed one that fits the server
    pg_bin_dir: Annotated[str, Variable("PG_BIN_DIR")] = ""

    # the bucket
    s3_region: Annotated[str, Variable("S3_REGION", _REGION)] = "us-east-1"
    s3_prefix: Annotated[str, Variable("S3_PREFIX", _PREFIX, or_empty=True)] = "postgres-backup"
    #: file of CA certificates to trust instead of the system's
    s3_ca_bundle: Annotated[str, Variable("S3_CA_BUNDLE")] = ""

    # the second store: each backup is copied there; no bucket: there is none
    copy_endpoint_url: Annotated[str, Variable("COPY_ENDPOINT_URL", _or_none(_ENDPOINT))] = ""
    copy_region: Annotated[str, Variable("COPY_REGION", _REGION)] = "us-east-1"
    copy_bucket: Annotated[str, Variable("COPY_BUCKET_NAME", _or_none(_BUCKET))] = ""
    copy_prefix: Annotated[str, Variable("COPY_PREFIX", _PREFIX, or_empty=True)] = "postgres-backup"
    copy_access_key: Annotated[str, Variable("COPY_ACCESS_KEY_ID")] = dataclasses.field(
        default="", repr=False
    )
    copy_secret_key: Annotated[str, Variable("COPY_SECRET_ACCESS_KEY")] = dataclasses.field(
        default="", repr=False
    )
    copy_addressing_style: Annotated[
        str, Variable("COPY_ADDRESSING_STYLE", _one_of("path", "virtual"))
    ] = "path"
    copy_ca_bundle: Annotated[str, Variable("COPY_CA_BUNDLE")] = ""
    copy_max_parts: Annotated[int, Variable("COPY_MAX_PARTS", _PARTS)] = S3_MAX_PARTS
    #: days for which copies are kept; 0: as in the first store
    copy_retention_days: Annotated[
        int, Variable("COPY_RETENTION_DAYS", _COPY_DAYS, prunes=True)
    ] = 0
    copy_price_gb_month: Annotated[float, Variable("COPY_PRICE_GB_MONTH", _PRICE)] = 0.0

    # when a backup is taken, of what, and how it is written
    #: daily, UTC, HH:MM
    schedule_time: Annotated[str, Variable("SCHEDULE_TIME", _TIME_OF_DAY)] = "00:00"
    #: a night that failed is tried again for so many hours; 0: never
    retry_hours: Annotated[int, Variable("RETRY_HOURS", _RETRY)] = 6
    #: HH:MM-HH:MM, UTC: nothing is tried again then
    quiet_hours: Annotated[str, Variable("QUIET_HOURS", _QUIET)] = ""
    #: files and folders of the server kit
    paths: Annotated[tuple[str, ...], Variable("BACKUP_PATHS")] = ()
    #: what a rebuilt server gets in another way, or can do without
    paths_elsewhere: Annotated[tuple[str, ...], Variable("BACKUP_PATHS_ELSEWHERE")] = ()
    #: the kit may lie in the bucket unencrypted
    kit_plain: Annotated[bool, Variable("KIT_PLAIN")] = False
    age_recipients: Annotated[tuple[str, ...], Variable("AGE_RECIPIENTS")] = ()
    format: Annotated[str, Variable("BACKUP_FORMAT", _one_of("plain", "custom"))] = "plain"
    compression: Annotated[str, Variable("BACKUP_COMPRESSION", _one_of("gzip", "zstd"))] = "gzip"
    #: how the bucket is named to the store
    s3_addressing_style: Annotated[
        str, Variable("S3_ADDRESSING_STYLE", _one_of("path", "virtual"))
    ] = "path"

    # whose word a backup is; both lie beside the config where it does not say otherwise
    #: the private key that signs what this server makes
    signing_key_file: Annotated[str, Variable("SIGNING_KEY_FILE", _FILE)] = ""
    #: the servers whose signatures are believed, as OpenSSH's ``allowed_signers``
    trusted_signers_file: Annotated[str, Variable("TRUSTED_SIGNERS_FILE", _FILE)] = ""

    # what is kept, what is told of, what it costs
    retention_days: Annotated[int, Variable("RETENTION_DAYS", _KEEPS_ANY, prunes=True)] = 7
    #: hours after which the newest good backup is too old: a day, and two for a night that took
    #: long
    fresh_hours: Annotated[int, Variable("FRESH_HOURS", _ANY_FRESH)] = 26
    #: a backup or a table that is so many percent smaller than the last ones used to be is told of;
    #: 0: never
    size_drop_percent: Annotated[int, Variable("SIZE_DROP_PERCENT", _DROP)] = 30
    keep_weekly: Annotated[int, Variable("KEEP_WEEKLY", _KEPT, prunes=True)] = 0
    keep_monthly: Annotated[int, Variable("KEEP_MONTHLY", _KEPT, prunes=True)] = 0
    #: days for which databases replaced by a restore are kept
    keep_replaced_days: Annotated[int, Variable("KEEP_REPLACED_DAYS", _KEPT, prunes=True)] = 7
    #: days for which the events of the journal are kept; 0: for ever
    journal_days: Annotated[int, Variable("JOURNAL_DAYS", _JOURNAL_DAYS, prunes=True)] = 400
    #: so many percent larger; 0: never
    size_jump_percent: Annotated[int, Variable("SIZE_JUMP_PERCENT", _JUMP)] = 200
    #: what a GB costs a month, what 1,000 requests cost, and in which currency; 0: costs are not
    #: told
    price_gb_month: Annotated[float, Variable("PRICE_GB_MONTH", _PRICE)] = 0.0
    price_requests_1000: Annotated[float, Variable("PRICE_REQUESTS_1000", _PRICE)] = 0.0
    price_currency: Annotated[str, Variable("PRICE_CURRENCY")] = ""

    # drills
    #: megabytes a second that a drill loads at most; 0: no bound
    drill_mb_per_second: Annotated[float, Variable("DRILL_MB_PER_SECOND", _RATE)] = 20.0
    #: minutes that a restore may take, as drills measure it; 0: any
    drill_rto_minutes: Annotated[float, Variable("DRILL_RTO_MINUTES", _RTO)] = 0.0
    #: days without a drill after which people are told; 0: never
    drill_max_days: Annotated[int, Variable("DRILL_MAX_DAYS", _DRILL_DAYS)] = 35
    #: each a JSON object, see ``drill/queries``
    drill_queries: Annotated[tuple[str, ...], Variable("DRILL_QUERIES")] = ()
    #: a dead-man's switch of their own
    drill_ping_url: Annotated[str, Variable("DRILL_PING_URL")] = dataclasses.field(
        default="", repr=False
    )
    #: backups that each night reads again, of each database; 0: none
    verify_per_night: Annotated[int, Variable("VERIFY_PER_NIGHT", _PER_NIGHT)] = 1
    #: GB that 30 days of that may read, of all databases together; 0: any
    verify_gb_per_month: Annotated[float, Variable("VERIFY_GB_PER_MONTH", _GB_A_MONTH)] = 100.0
    s3_max_parts: Annotated[int, Variable("S3_MAX_PARTS", _PARTS)] = S3_MAX_PARTS

    # recovery to any second
    #: what PostgreSQL writes is archived all the time
    pitr: Annotated[bool, Variable("PITR")] = False
    #: seconds of work that may be lost with the server
    pitr_rpo_seconds: Annotated[int, Variable("PITR_RPO_SECONDS", _RPO)] = 300

    # what is done, and to whom it is told
    #: the nightly run deletes what the retention no longer keeps; not so where its key may not
    #: delete, and somebody else does
    prune_nightly: Annotated[bool, Variable("PRUNE_NIGHTLY")] = True
    #: restore inside the live database, in one transaction, where there is no room for a second
    #: copy
    restore_in_place: Annotated[bool, Variable("RESTORE_IN_PLACE")] = False
    #: a backup with fewer percent of the live database's rows replaces it only if that is meant
    restore_min_percent: Annotated[int, Variable("RESTORE_MIN_PERCENT", _LEAST)] = 50
    #: sessions that build indexes side by side; 0: as many as this machine has processors
    restore_jobs: Annotated[int, Variable("RESTORE_JOBS", _JOBS)] = 0
    alert_urls: Annotated[tuple[str, ...], Variable("ALERT_URLS")] = dataclasses.field(
        default=(), repr=False
    )
    #: whom to call when something is wrong, in the words of those who read it
    contact: Annotated[str, Variable("CONTACT", _CONTACT)] = ""
    ping_url: Annotated[str, Variable("PING_URL")] = dataclasses.field(default="", repr=False)
    state_dir: Annotated[str, Variable("STATE_DIR")] = "/var/lib/postgres-backup"
    metrics_file: Annotated[str, Variable("METRICS_FILE")] = ""

    #: what is wrong with the lines that say what is deleted: while there is something, nothing is,
    #: and those lines have their defaults
    retention_fault: str = ""
    #: these are the settings of the second store, see :meth:`of_copy`
    is_copy: bool = False

    def __post_init__(self) -> None:
        for field, (variable, _kind) in variables().items():
            variable.require(getattr(self, field))
        self._require_second_store()

    def _require_second_store(self) -> None:
        """:raises UsageError: it is named in part, or it is the first."""
        needed = {
            "COPY_ENDPOINT_URL": self.copy_endpoint_url,
            "COPY_BUCKET_NAME": self.copy_bucket,
            "COPY_ACCESS_KEY_ID": self.copy_access_key,
            "COPY_SECRET_ACCESS_KEY": self.copy_secret_key,
        }
        missing = [name for name, value in needed.items() if not value]
        if missing and len(missing) < len(needed):
            raise UsageError(
                f"The second store is named in part: {', '.join(missing)} is missing",
                "Set endpoint_url, bucket, access_key and secret_key of backup_copy_to, "
                "or none of them",
            )
        first = (self.s3_endpoint_url.rstrip("/").lower(), self.s3_bucket)
        second = (self.copy_endpoint_url.rstrip("/").lower(), self.copy_bucket)
        if self.copy_bucket and not self.is_copy and first == second:
            raise UsageError(
                f"The second store is the first: {second[0]}, bucket {second[1]}",
                "Name another bucket in backup_copy_to (in the config: COPY_BUCKET_NAME), "
                "at another provider",
            )

    @property
    def has_copy(self) -> bool:
        """There is a second store."""
        return bool(self.copy_bucket)

    def of_copy(self) -> Settings:
        """The same server, and the second store in the place of the first: whatever reads or
        restores does so from there.

        :raises UsageError: there is none.
        """
        if not self.has_copy:
            raise UsageError(
                "There is no second store in the settings",
                "Set backup_copy_to in group_vars/all.yml, and run `ansible-playbook setup.yml`; "
                "or leave --from out",
            )
        return dataclasses.replace(
            self,
            s3_endpoint_url=self.copy_endpoint_url,
            s3_region=self.copy_region,
            s3_bucket=self.copy_bucket,
            s3_prefix=self.copy_prefix,
            s3_access_key=self.copy_access_key,
            s3_secret_key=self.copy_secret_key,
            s3_addressing_style=self.copy_addressing_style,
            s3_ca_bundle=self.copy_ca_bundle,
            s3_max_parts=self.copy_max_parts,
            retention_days=self.copy_retention_days or self.retention_days,
            price_gb_month=self.copy_price_gb_month,
            is_copy=True,
        )

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every value that must never be shown."""
        addresses = (self.ping_url, self.drill_ping_url, *self.alert_urls)
        keys = (self.s3_secret_key, self.copy_secret_key)
        return tuple(v for v in (self.db_password, *keys, *addresses) if v)

    def hide(self, text: str) -> str:
        """``text`` with every secret blotted out, where it stands as a word of its own (a password
        ``postgres`` must not eat the names of backups).
        """
        for secret in self.secrets:
            text = re.sub(rf"(?<![\w-]){re.escape(secret)}(?![\w-])", "********", text)
        return self.named(text)

    def named(self, text: str) -> str:
        """``text`` with the names of the second store's settings, where these are of it: they are
        what is to be checked.
        """
        return _OF_STORE.sub(lambda found: _of_copy(found[1]), text) if self.is_copy else text

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


@functools.cache
def variables() -> dict[str, tuple[Variable[object], object]]:
    """What :class:`Settings` reads, in the order of its lines: field -> its variable, and the kind
    of its value (``int``, ``tuple[str, ...]``).
    """
    found: dict[str, tuple[Variable[object], object]] = {}
    for field, hint in get_type_hints(Settings, include_extras=True).items():
        if get_origin(hint) is Annotated:
            kind, variable = get_args(hint)
            found[field] = (variable, kind)
    return found
