"""Backups of a recovered cluster: what was is brought back by the same road as from any night.

They are of a past that is over, and the newest all the same, so they lie apart, where no
``restore latest``, no retention and no look at the nights counts them.
"""

from __future__ import annotations

import dataclasses
import os

from ..settings import Settings
from .names import own_folder, shared_prefix


def place(settings: Settings) -> Settings:
    """The same with the prefix where they lie; of a server with a folder of its own beside that of
    all servers, and in a folder again.
    """
    prefix = shared_prefix(settings.s3_prefix, settings.server_name)
    beside = f"{prefix}-recovered" if prefix else "recovered"
    if prefix != settings.s3_prefix.strip("/"):
        beside = own_folder(beside, settings.server_name)
    return dataclasses.replace(settings, s3_prefix=beside)


def container(settings: Settings) -> str:
    """What the container is called in which a recovered cluster runs, beside the live one's; there
    is one at a time. Empty where PostgreSQL runs in none.
    """
    return f"{settings.db_container}-recovered" if settings.db_container else ""


def source(settings: Settings, host: str, port: int) -> Settings:
    """How one is taken: from the recovered cluster, over its socket, with a state of its own, for
    nothing that is remembered of the nights is about it; nobody is told of it either. Of one in a
    container the programs of its image are run beside it.
    """
    return dataclasses.replace(
        place(settings),
        db_host=host,
        db_port=port,
        db_container=container(settings),
        db_password="",
        state_dir=os.path.join(settings.state_dir, "recovered"),
        metrics_file="",
        alert_urls=(),
        ping_url="",
    )
