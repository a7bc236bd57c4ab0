"""Where the first store does not answer, and there is a second one, whoever asks hears of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ..errors import StoreError
from ..settings import Settings


@contextlib.contextmanager
def told(settings: Settings, how: str = "--from copy") -> Iterator[None]:
    """An error of the first store says what the second has, and how to ask for it.

    :param how: as it is typed where this is asked from.
    """
    try:
        yield
    except StoreError as error:
        from ..health import second_store  # few calls need it

        if said := second_store.advice(settings, how):
            error.hint = f"{error.hint}. {said}" if error.hint else said
        raise
