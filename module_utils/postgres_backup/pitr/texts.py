"""The two files that point-in-time recovery is made of: the engine's config, and PostgreSQL's
settings. Pure.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping

from ..settings import Settings
from . import engine, places

#: so often a quiet server hands on what it has, within the time that may be lost
_SHARES = 5
_SECRET = re.compile(r"^(repo1-(?:s3-key|s3-key-secret|cipher-pass))=.*$", re.MULTILINE)


def engine_config(
    settings: Settings,
    archive: str,
    data_directory: str,
    cipher_key: str,
    version: tuple[int, ...],
    processes: int,
    spool: str,
) -> str:
    """The engine's config, with the store's key and that of the archive.

    :param archive: its path in the bucket.
    :param processes: that work side by side; ``spool``: where what waits for its way is noted.

    What is not its default: path style and bundles suit more stores; ``archive-push-queue-max`` is
    left unset, for with it the log is dropped and called archived.
    """
    address = urllib.parse.urlsplit(settings.s3_endpoint_url)
    values = {
        "repo1-type": "s3",
        "repo1-path": archive,
        "repo1-s3-endpoint": address.netloc,
        "repo1-s3-bucket": settings.s3_bucket,
        "repo1-s3-region": settings.s3_region,
        "repo1-s3-uri-style": {"path": "path", "virtual": "host"}[settings.s3_addressing_style],
        "repo1-s3-key": settings.s3_access_key,
        "repo1-s3-key-secret": settings.s3_secret_key,
        "repo1-storage-ca-file": settings.s3_ca_bundle,
        "repo1-cipher-type": "aes-256-cbc",
        "repo1-cipher-pass": cipher_key,
        "repo1-retention-full-type": "time",
        "repo1-retention-full": str(settings.retention_days),
        "repo1-bundle": "y",
        "repo1-block": "y" if version >= engine.BLOCKS else "",
        "compress-type": "zst",
        "process-max": str(processes),
        "start-fast": "y",
        "archive-async": "y",
        "spool-path": spool,
        "lock-path": f"{settings.state_dir}/lock",
        "log-level-console": "warn",
        "log-level-file": "warn",
    }
    here = {
        "pg1-path": data_directory,
        "pg1-port": str(settings.db_port),
        "pg1-socket-path": settings.db_host,
    }
    head = "# Written by Ansible (role pitr). Holds the store's key, and that of the archive.\n"
    return f"{head}[global]\n{_lines(values)}\n[{places.STANZA}]\n{_lines(here)}"


def _lines(values: Mapping[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in values.items() if value)


def without_secrets(text: str) -> str:
    """The same for a person to see."""
    return _SECRET.sub(r"\1=********", text)


def postgresql_conf(rpo_seconds: int) -> str:
    """PostgreSQL's settings, as a file of ``conf.d``: what ``ALTER SYSTEM`` writes would go into
    every copy, and what a restore appends there stands above it.
    """
    push = f"{engine.PROGRAM} --config={places.CONFIG} --stanza={places.STANZA} archive-push %p"
    return (
        "# Written by Ansible (role pitr). What is written is archived; archive_timeout: so often\n"
        "# where it is little.\n"
        "archive_mode = on\n"
        f"archive_command = '{push}'\n"
        f"archive_timeout = {archive_timeout(rpo_seconds)}s\n"
    )


def archive_timeout(rpo_seconds: int) -> int:
    """Seconds after which a piece of the log that is not full is handed on too."""
    return max(10, rpo_seconds // _SHARES)
