"""Backups of a recovered cluster: what was is brought back by the same road as from any night.

They are of a past that is over, and the newest all the same, so they lie apart, where no
``restore latest``, no retention and no look at the nights counts them.
"""

from __future__ import annotations

import dataclasses
import os

from ..settings import Settings


def place(settings: Settings) -> Settings:
    """The same with the prefix where they lie."""
    prefix = settings.s3_prefix.strip("/")
    return dataclasses.replace(settings, s3_prefix=f"{prefix}-recovered" if prefix else "recovered")


def source(settings: Settings, host: str, port: int) -> Settings:
    """How one is taken: from the recovered cluster, over its socket, with a state of its own, for
    nothing that is remembered of the nights is about it; nobody is told of it either.
    """
    return dataclasses.replace(
        place(settings),
        db_host=host,
        db_port=port,
        db_container="",
        db_password="",
        state_dir=os.path.join(settings.state_dir, "recovered"),
        metrics_file="",
        alert_urls=(),
        ping_url="",
    )
