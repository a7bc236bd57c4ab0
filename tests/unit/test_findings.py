"""Findings: one registry, from which the documents' tables are made, and no code beside it."""

import ast
import re
from pathlib import Path

import pytest

from docs import make_tables
from postgres_backup import findings
from tests import documents, sources

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [*(ROOT / "module_utils").rglob("*.py"), *(ROOT / "library").glob("*.py")]


def test_a_code_that_nobody_explains_is_refused():
    with pytest.raises(KeyError):
        findings.finding("NOBODY_KNOWS", "what this is")
    assert findings.finding("NO_BACKUP", "none", database="crm") == {
        "code": "NO_BACKUP",
        "message": "none",
        "database": "crm",
    }


def test_a_code_means_one_thing():
    codes = [code for group in findings.GROUPS.values() for codes in group for code in codes]
    twice = {code for code in codes if codes.count(code) > 1}
    # an alarm and a finding may share their name, and then their cause
    assert twice == set()


@sources.GROUP
def test_nobody_makes_a_finding_by_hand():
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        if path.name == "findings.py" or not re.search(r"""["']code["']""", text):
            continue
        for node in ast.walk(sources.tree(path)):
            if isinstance(node, ast.Dict):
                keys = [key.value for key in node.keys if isinstance(key, ast.Constant)]
                assert keys[:2] != ["code", "message"], f"{path}:{node.lineno}"


def test_each_has_what_to_type():
    first = {codes[0] for group in findings.GROUPS.values() for codes in group}
    mends = make_tables.mends_of_findings()
    assert mends.keys() == first, "docs/findings.yml"
    for code, said in mends.items():
        assert said["mend"], code
        assert said.keys() <= {"check", "mend"}, code


def test_the_documents_tables_are_the_registry():
    for heading, group in findings.GROUPS.items():
        rows = documents.table_rows(documents.section("docs/troubleshooting.md", heading))
        shown = {tuple(re.findall(r"`([A-Z_]+)`", row[0])): row[1] for row in rows if "`" in row[0]}
        assert shown == group, heading
