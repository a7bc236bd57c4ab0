"""The program's sources, parsed once by a process of tests, whichever tests ask for them.

Tests that read them all are one group (``GROUP``), and so one worker's.
"""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

GROUP = pytest.mark.xdist_group("sources")


@functools.cache
def tree(path: Path) -> ast.Module:
    """A file of Python; nobody changes what is handed out."""
    return ast.parse(path.read_text(encoding="utf-8"))
