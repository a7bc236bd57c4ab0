"""docs/troubleshooting.md has every error that the program can end with, and none that it cannot.

Findings have a test of their own: their tables are made from the registry. That the page's mends
mend is shown by tests/integration/test_troubleshooting.py.
"""

from __future__ import annotations

import re

from postgres_backup import findings
from tests import documents, sentences, sources

DOCUMENT = "docs/troubleshooting.md"
pytestmark = sources.GROUP
#: words of PostgreSQL and its programs, which ours hand on
HANDED_ON = (
    "permission denied for ...",
    "query would be affected by row-level security policy",
    "out of shared memory",
)
#: sentences whose own words are in what they hand on
_WITHOUT_WORDS = {
    "... (in the config: ... )": "what a rule of the settings says stands before it",
    "Failed to ... : ...": "of a download: what stands in the manifest differs",
}


def rows() -> list[dict[str, str]]:
    """Each row of the tables of errors; those of findings are made."""
    text = re.sub(r"<!-- table: .*?<!-- /table -->", "", documents.text_of(DOCUMENT), flags=re.S)
    head = ["it says", "cause", "check", "mend"]
    found = [row for row in documents.table_rows(text) if len(row) == 4 and row != head]
    return [dict(zip(head, row, strict=True)) for row in found]


def patterns(cell: str) -> list[str]:
    """What a message begins with, as a row has it."""
    return re.findall(r"`([^`]+)`", cell)


def test_every_error_of_the_program_is_on_the_page():
    known = [pattern for row in rows() for pattern in patterns(row["it says"])]
    lacking = {
        sentence: place
        for sentence, place in sentences.sentences().items()
        if sentence not in _WITHOUT_WORDS
        and not any(sentences.tells(pattern, sentence) for pattern in known)
    }
    assert not lacking, f"{DOCUMENT} lacks what these say: {lacking}"


def test_every_error_on_the_page_can_happen():
    said, source = list(sentences.sentences()), sentences.source()
    for row in rows():
        for pattern in patterns(row["it says"]):
            words = [word for word in re.split(r"\.\.\.", pattern) if word.strip()]
            known = any(sentences.begins(pattern, one) for one in said)
            assert known or pattern in HANDED_ON or all(word in source for word in words), pattern


def test_a_sentence_stands_once():
    shown = [pattern for row in rows() for pattern in patterns(row["it says"])]
    assert sorted(shown) == sorted(set(shown))


def test_each_row_says_why_and_what_to_do():
    for row in rows():
        if set(row["it says"]) != {"-"}:
            assert row["cause"], row
            assert row["mend"], row


def test_every_error_says_what_to_do_next():
    assert list(sentences.without_a_way_out()) == []


def test_every_finding_is_on_the_page_once():
    text = documents.text_of(DOCUMENT)
    shown = [
        code
        for cells in documents.table_rows(text)
        if len(cells) == 4
        for code in re.findall(r"`([A-Z]+[A-Z_]*)`", cells[0])
    ]
    assert sorted(shown) == sorted(findings.CODES)


def test_a_sentence_is_known_by_how_it_begins():
    assert sentences.begins("There is no backup ... under ...", "There is no backup ... under ...")
    assert sentences.begins("... is not whole: ...", "... is not whole: ...")
    assert not sentences.begins("There is no backup ... of", "There is no backup ... under ...")
    assert sentences.tells("Failed to read ...", "Failed to read ... : ...")
    assert not sentences.tells("Failed to read ...", "Failed to read the template ... : ...")
