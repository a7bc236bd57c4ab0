"""Files of roles that nobody's pg_dumpall wrote: read in bounded memory, and what comes out is made
of our words alone.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import settings as profile

from postgres_backup.restore.globals_file import read
from postgres_backup.restore.globals_words import GlobalsUnfit
from postgres_backup.restore.role_statements import CreateRole, composed
from tests import hostile
from tests.properties import SHORT
from tests.unit.memory import peak_of

ROOT = Path(__file__).resolve().parents[3]
#: what a statement is without its names and texts
_QUOTED = re.compile(r"""\ E'(?:[^'\\]|''|\\\\)*'|'(?:[^']|'')*'|"(?:[^"]|"")*\"""", re.VERBOSE)
_OURS = re.compile(
    r"CREATE ROLE _|COMMENT ON ROLE _ IS  ?_|ALTER ROLE _ SET _(\._)* TO  ?_(,  ?_)*"
    r"|GRANT _ TO _( WITH [A-Z, ]+)?"
    r"|ALTER ROLE _ WITH ((NO)?[A-Z]+ ?)*(CONNECTION LIMIT -?\d+ ?)?(PASSWORD  ?_ ?)?"
    r"(VALID UNTIL  ?_)?"
)


@pytest.mark.hypothesis
def test_whatever_stands_there_only_our_words_are_said():
    chance = random.Random(13)
    said = 0
    for _ in range(300 if profile().max_examples == SHORT else 120_000):
        text = hostile.mangled(hostile.HOSTILE_GLOBALS.encode(), chance).decode(errors="replace")
        try:
            statements = read(text).statements
        except GlobalsUnfit:
            continue
        for statement in statements:
            text = composed(statement, chance.choice((15, 18))).as_string(None)
            assert _OURS.fullmatch(_QUOTED.sub("_", text)), text
            said += 1
    assert said > 100


def test_what_was_once_several_statements_makes_no_other_role():
    found = read(hostile.HOSTILE_GLOBALS)
    made = {said.role for said in found.statements if isinstance(said, CreateRole)}
    # E'\'' is one text, and the canary behind it a statement of its own, which nobody wants
    assert made == {"evil", hostile.CANARY}
    assert len(found.left_out) == 7


_MEMORY = r"""
import contextlib, sys
from postgres_backup.restore.globals_file import read
from postgres_backup.restore.globals_words import GlobalsUnfit
half = 1 << 20
text = {
    "quotes": lambda: "COMMENT ON ROLE a IS '" + "''" * half + "';",
    "escapes": lambda: "COMMENT ON ROLE a IS E'" + "\\'" * half + "';",
    "roles": lambda: "CREATE ROLE a;" * 300_000,
    "endless": lambda: "E'" + "\\'" * half,
}[sys.argv[1]]()
with contextlib.suppress(GlobalsUnfit):
    read(text)
"""


@pytest.mark.parametrize("kind", ["quotes", "escapes", "roles", "endless"])
def test_it_is_read_in_bounded_memory(kind):
    assert peak_of(_MEMORY, kind) < 200
