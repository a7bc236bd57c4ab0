"""The settings of the old scripts, as the variables that they are here."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TypedDict

from ..errors import UsageError
from .found import Ours, Schedule, find
from .scripts import DATABASE, HOST, PORT, config_values, first

#: variable of ours -> the names by which scripts know it
NAMES: Mapping[str, tuple[str, ...]] = {
    "backup_db_host": HOST,
    "backup_db_port": PORT,
    "backup_db_name": DATABASE,
    "backup_db_user": ("DB_USER", "PGUSER", "POSTGRES_USER"),
    "backup_db_password": ("DB_PASSWORD", "PGPASSWORD", "POSTGRES_PASSWORD", "DB_PASS"),
    "backup_db_container": ("DB_CONTAINER", "CONTAINER_NAME", "POSTGRES_CONTAINER", "CONTAINER"),
    "backup_s3_endpoint_url": (
        "S3_ENDPOINT_URL",
        "AWS_ENDPOINT_URL",
        "S3_ENDPOINT",
        "ENDPOINT_URL",
    ),
    "backup_s3_region": ("S3_REGION", "AWS_DEFAULT_REGION", "AWS_REGION"),
    "backup_s3_bucket": ("S3_BUCKET_NAME", "S3_BUCKET", "BUCKET_NAME", "BUCKET"),
    "backup_s3_prefix": ("S3_PREFIX", "BACKUP_PREFIX"),
    "backup_s3_access_key": ("AWS_ACCESS_KEY_ID", "S3_ACCESS_KEY", "S3_ACCESS_KEY_ID"),
    "backup_s3_secret_key": ("AWS_SECRET_ACCESS_KEY", "S3_SECRET_KEY", "S3_SECRET_ACCESS_KEY"),
    "backup_retention_days": ("RETENTION_DAYS", "BACKUP_RETENTION_DAYS", "KEEP_DAYS"),
}
SECRETS = ("backup_db_password", "backup_s3_access_key", "backup_s3_secret_key")
#: what a config of ours has besides, and setup.yml writes anew
_SAID_ELSEWHERE = ("AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION")


class Imported(TypedDict):
    """``settings``: variable -> value, secrets too; ``not_ours``: names in the file that have no
    variable here; ``missing``: variables without a default that the file does not have.
    """

    settings: dict[str, str]
    not_ours: list[str]
    missing: list[str]


#: variables without a default
_NEEDED = ("backup_db_name", "backup_db_user", "backup_s3_endpoint_url", "backup_s3_bucket")


def read_settings(path: str) -> Imported:
    """What the config of an old script says.

    :raises UsageError: it cannot be read, or has nothing that is known.
    """
    values = config_values(path)
    settings = {
        ours: first(values, names).strip("/" if ours == "backup_s3_prefix" else "")
        for ours, names in NAMES.items()
        if first(values, names)
    }
    if not settings:
        raise UsageError(
            f"Nothing in {path} is a setting that is known, such as DB_NAME or S3_BUCKET_NAME",
            "Name the file with the scripts' settings: -e import=/path/backup-config.env",
        )
    known = {name for names in NAMES.values() for name in names} | {*_SAID_ELSEWHERE}
    return {
        "settings": settings,
        "not_ours": sorted(values.keys() - known),
        "missing": [name for name in (*_NEEDED, *SECRETS) if name not in settings],
    }


def with_their_time(read: Imported, path: str) -> Imported:
    """The settings, and the time of day at which the script that reads this file runs, where it
    runs once a day.
    """
    settings = read["settings"]
    host, port = settings.get("backup_db_host", "localhost"), settings.get("backup_db_port", "5432")
    named = [settings["backup_db_name"]] if "backup_db_name" in settings else []
    if not port.isdecimal():
        return read
    at = time_of(find(Ours(named, host, int(port))), path)
    return {**read, "settings": {**settings, "backup_schedule_time": at}} if at else read


def time_of(found: Sequence[Schedule], path: str) -> str:
    """When the script runs whose config this is, ``HH:MM`` in UTC; empty where none does, or not
    once a day.
    """
    whole = os.path.realpath(path)
    ours = [one for one in found if one["config"] and os.path.realpath(one["config"]) == whole]
    return next((one["at"] for one in ours if one["at"]), "")
