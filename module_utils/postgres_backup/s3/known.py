"""Whether a store of these settings was tried already, so that nobody tries it at each setup."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, TypedDict

from .. import __version__
from ..clock import format_timestamp, utc_now
from ..findings import Finding
from ..machine import state
from ..settings import Settings
from ..shapes.kinds import Moment


class _Remembered(TypedDict, total=False):
    """``of``: a sum over the settings that it was for."""

    of: str
    at: Annotated[str, Moment()]


_LAST = state.Kept("store-check.json", _Remembered)
#: the same of the second store
_LAST_OF_COPY = state.Kept("store-check-copy.json", _Remembered)


def is_known(settings: Settings) -> bool:
    """Whether a store of these settings was tried already, and found fit."""
    return state.read(settings, _last(settings)).get("of") == _sum(settings)


def remember(settings: Settings) -> list[Finding]:
    """It was, now.

    :return: findings: what could not be noted.
    """
    now: _Remembered = {"of": _sum(settings), "at": format_timestamp(utc_now())}
    return state.write(settings, _last(settings), now)


def _last(settings: Settings) -> state.Kept[_Remembered]:
    return _LAST_OF_COPY if settings.is_copy else _LAST


def _sum(settings: Settings) -> str:
    """Over what a store is to a server; no secret is in it."""
    of = (
        __version__,
        settings.s3_endpoint_url,
        settings.s3_region,
        settings.s3_bucket,
        settings.s3_prefix,
        settings.s3_addressing_style,
        settings.s3_ca_bundle,
        settings.s3_access_key,
        settings.server_name,
    )
    return hashlib.sha256(json.dumps(of).encode()).hexdigest()
