"""All commands, in the order of ``--help``: what is typed most stands first."""

from __future__ import annotations

from . import by_itself, every_second, looks, way_back, way_out, whose_word
from .command import REGISTERED, Command

#: where each of them is
_STORIES = (way_out, way_back, looks, whose_word, by_itself, every_second)
_ORDER = (
    "backup", "list", "restore", "drill", "undo-restore", "prune", "status", "verify", "adopt",
    "key", "kit", "copy", "move", "restore-kit", "history", "store-check", "watch", "pitr-backup",
    "pitr-drill", "pitr-look", "pitr-watch", "alert-test", "run",
)  # fmt: skip
#: by name
COMMANDS: dict[str, Command] = {name: REGISTERED[name] for name in (*_ORDER, *REGISTERED)}
