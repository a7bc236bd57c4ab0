"""The whole command line, built once: reading a line changes nothing in it."""

from __future__ import annotations

import functools

from postgres_backup.cli import parser
from postgres_backup.cli.commands import COMMANDS


@functools.cache
def command_line() -> parser.Parser:
    return parser.build(COMMANDS.values())
