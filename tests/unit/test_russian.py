"""docs/ru follows the English documents: what one types, sees and is led to is the same, and each
thing has one Russian word, that of docs/ru/words.md.

Whoever changes an English page that has a Russian one changes that too; these tests say where.
"""

from __future__ import annotations

import functools
import itertools
import os.path
import re

import pytest

from tests import documents
from tests.documents import RUSSIAN, Section

WORDS = RUSSIAN["docs/glossary.md"]
PAGES = [document for document in RUSSIAN if RUSSIAN[document] != WORDS]
#: of these two only some sections are in Russian: the quick start, and where the frequent troubles
#: stand
PARTS = {
    "README.md": (
        "postgres-backup",
        "See it work on your machine",
        "A real server in five steps",
    ),
    "docs/troubleshooting.md": (
        "Troubleshooting",
        "The site is down",
        "The backup failed",
        "The store says no",
        "PostgreSQL says no",
        "The words of pg_dump",
        "A restore refuses",
        "Rights, room, what the server lacks",
        "Single tables",
        "A backup is bad",
        "Status is not well",
        "Status and pruning",
        "setup.yml stops",
        "It was stopped, or another one runs",
        "It is none of these",
    ),
}
#: of the tables of this page the most frequent rows are in Russian, so many
TROUBLES, CHOSEN = "docs/troubleshooting.md", 20

_CODE = re.compile(r"`[^`]+`")
_COMMENT = re.compile(r"(^|\s)# .*$", re.MULTILINE)


sections = functools.cache(documents.sections)


def english_sections(document: str) -> list[Section]:
    """Those that are in Russian too."""
    wanted = PARTS.get(document)
    return [one for one in sections(document) if wanted is None or one.heading in wanted]


def pairs(document: str) -> list[tuple[Section, Section]]:
    """Each section in English and in Russian."""
    return list(zip(english_sections(document), sections(RUSSIAN[document]), strict=True))


def english_of(page: str) -> str:
    return next((english for english, russian in RUSSIAN.items() if russian == page), page)


def leads_to(document: str, link: str) -> tuple[str, str]:
    """Document and heading behind a link, the English ones where it leads to a page in Russian."""
    if link.startswith("https://"):
        return link, ""
    path, _, name = link.partition("#")
    target = os.path.normpath(os.path.join(os.path.dirname(document), path)) if path else document
    english = target if target == WORDS else english_of(target)
    if not name:
        return english, ""
    number = [documents.anchor(one.heading) for one in sections(target)].index(name)
    there = sections(target) if english == target else english_sections(english)
    return english, there[number].heading


def is_in_russian(document: str, heading: str) -> bool:
    """There is a page in Russian, and the section that is meant is on it."""
    if document not in PAGES:
        return False
    return not heading or heading in [one.heading for one in english_sections(document)]


def typed(section: Section) -> list[tuple[str, str]]:
    """The fenced blocks with their languages: every byte but the words of comments, which are for
    reading.
    """
    return [
        (
            one.language,
            _COMMENT.sub(r"\1#", one.text) if one.language in ("sh", "yaml") else one.text,
        )
        for one in documents.blocks(section.document, section.text)
    ]


def numbers(text: str, russian: bool) -> set[str]:
    """In digits; 7,000 and 0.6 in English are 7000 and 0,6 in Russian."""
    text = re.sub(r"\]\([^)]*\)", "]", _CODE.sub("", text))
    text = re.sub(r"(?<=\d),(?=\d)", "." if russian else "", text)
    return set(re.findall(r"\d+(?:\.\d+)*", text))


def named(section: Section, text: str) -> set[str | tuple[str, str]]:
    """What a piece of prose must have in both languages: code, numbers, and where links lead."""
    russian = section.document in RUSSIAN.values()
    links = {leads_to(section.document, link) for link in documents.links("", text)}
    links -= {(WORDS, ""), (english_of(section.document), "")}  # from one language to the other
    return {*_CODE.findall(text), *numbers(text, russian), *links}


def prose_and_rows(section: Section) -> tuple[str, list[str]]:
    lines = documents.prose(section.document, section.text).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    return "\n".join(line for line in lines if not line.startswith("|")), rows


def differences(english: Section, russian: Section, chosen_rows: bool = False) -> list[str]:
    """What the two sections do not have in common, in words for whoever mends it.

    :param chosen_rows: a row of the English table that begins with a message or a finding may be
        missing in Russian.
    """
    blocks = itertools.zip_longest(typed(english), typed(russian))
    found = [
        f"block {number} is {shown}, not {wanted}"
        for number, (wanted, shown) in enumerate(blocks, 1)
        if wanted != shown
    ]

    def compare(what: str, wanted: str, shown: str) -> None:
        cells = [len(row) for row in documents.table_rows(f"{wanted}\n{shown}")]
        if len(set(cells)) > 1:
            found.append(f"{what}: {cells[1]} cells, not {cells[0]}")
        ours, theirs = named(english, wanted), named(russian, shown)
        found.extend(f"{what}: {thing} is missing" for thing in sorted(map(str, ours - theirs)))
        found.extend(f"{what}: {thing} is added" for thing in sorted(map(str, theirs - ours)))

    (text, rows), (text_there, rows_there) = prose_and_rows(english), prose_and_rows(russian)
    compare("text", text, text_there)
    if chosen_rows:
        by_message = {message: row for row in rows if (message := message_of(row))}
        rows = [row for row in rows if not message_of(row)]
        for row in filter(message_of, rows_there):
            if message_of(row) in by_message:
                compare(f"row {message_of(row)}", by_message[message_of(row)], row)
            else:
                found.append(f"row {message_of(row)} is not in {english.where}")
        if not rows_there and len(rows) == 2:
            rows = []  # the head of a table of which nothing was chosen
        rows_there = [row for row in rows_there if not message_of(row)]
    if len(rows) != len(rows_there):
        found.append(f"{len(rows_there)} rows, not {len(rows)}")
    for number, (row, row_there) in enumerate(zip(rows, rows_there, strict=False), 1):
        compare(f"row {number}", row, row_there)
    return found


def message_of(row: str) -> str:
    """The first cell of a row, where it is nothing but what the program says."""
    [[cell, *_]] = documents.table_rows(row)
    return cell if re.fullmatch(r"`[^`]+`(, `[^`]+`)*", cell) else ""


@pytest.mark.parametrize("document", PAGES)
def test_the_same_headings_in_the_same_order(document: str):
    english, russian = english_sections(document), sections(RUSSIAN[document])
    if document in PARTS:
        assert [one.heading for one in english] == list(PARTS[document])
    assert [one.level for one in russian] == [one.level for one in english], (
        f"{[one.heading for one in english]} are {[one.heading for one in russian]} in Russian"
    )


@pytest.mark.parametrize("document", PAGES)
def test_what_is_typed_seen_and_linked_is_the_same(document: str):
    found = [
        f"{russian.where}: {difference}"
        for english, russian in pairs(document)
        for difference in differences(english, russian, document == TROUBLES)
    ]
    assert not found, f"{document} says otherwise:\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("--limit db1 --check", "--limit db2 --check"),
        ("tables=users,orders --limit db1  ", "tables=users,orders --limit db1 "),
        ("`db1` ", "`db2` "),
        ("`db1` ", ""),
        ("(#undo-a-restore)", "(#the-server-is-lost)"),
        ("| ansible", "| 17 ansible"),
        ("\n| rows", "\n| rows |\n| rows"),
        ("| all |", "| all | none |"),
    ],
)
def test_a_difference_is_seen(old: str, new: str):
    text = (
        "\nIn `db1` type:\n\n```sh\nansible-playbook restore.yml --limit db1 --check  # first\n"
        "ansible-playbook restore.yml -e tables=users,orders --limit db1   # then\n```\n\n"
        "| what | how |\n| --- | --- |\n| ansible | [undo](#undo-a-restore) |\n| rows | all |\n"
    )
    assert old in text
    section = Section("docs/DISASTERS.md", 2, "A section", text)
    assert not differences(section, Section("docs/DISASTERS.md", 2, "Another", text))
    assert differences(section, Section("docs/DISASTERS.md", 2, "Another", text.replace(old, new)))


@pytest.mark.parametrize("document", PAGES)
def test_links_stay_in_russian_where_they_can(document: str):
    for _, section in pairs(document):
        for link in documents.links(section.document, section.text):
            target, heading = leads_to(section.document, link)
            if target == document and not heading:
                continue  # the whole of the page, in English
            path = link.partition("#")[0]
            there = os.path.normpath(os.path.join(os.path.dirname(section.document), path))
            if path and is_in_russian(target, heading):
                assert there in RUSSIAN.values(), f"{section.where}: {link}"


def test_the_most_frequent_troubles():
    rows = [
        row
        for section in sections(RUSSIAN[TROUBLES])
        for row in prose_and_rows(section)[1]
        if message_of(row)
    ]
    assert len(rows) == len(set(rows)) == CHOSEN


@pytest.mark.parametrize("document", RUSSIAN)
def test_both_pages_lead_to_each_other(document: str):
    for page, other, words in (
        (document, RUSSIAN[document], documents.IN_RUSSIAN),
        (RUSSIAN[document], document, documents.IN_ENGLISH),
    ):
        title, blank, line, *_ = documents.text_of(page).splitlines()
        assert title.startswith("# ")
        assert not blank
        assert line == f"[{words}]({os.path.relpath(other, os.path.dirname(page))})", page


def words(document: str) -> list[list[list[str]]]:
    """The rows of each table of words."""
    tables = [documents.table_rows(one.text)[2:] for one in sections(document)]
    return [table for table in tables if table]


def test_each_word_of_the_glossary_has_one_in_russian():
    *of_the_glossary, others = words(WORDS)
    assert [[row[0] for row in table] for table in of_the_glossary] == [
        [row[0] for row in table] for table in words("docs/glossary.md")
    ]
    rows = [*itertools.chain(*of_the_glossary), *others]
    for column in (0, 1):
        shown = [row[column] for row in rows]
        assert all(shown)
        assert len(set(shown)) == len(shown)


def as_pattern(variant: str) -> str:
    """A word of the last column; ``...`` stands for any ending."""
    return r"\b" + r"\s+".join(
        re.escape(word.removesuffix("...")) + (r"\w*" if word.endswith("...") else r"\b")
        for word in variant.split()
    )


@pytest.mark.parametrize("page", [RUSSIAN[document] for document in PAGES])
def test_no_other_word_is_used_for_it(page: str):
    variants = {
        variant: row[1]
        for row in itertools.chain(*words(WORDS))
        for variant in row[2].split(", ")
        if variant
    }
    text = _CODE.sub("", documents.prose(page))
    for variant, word in variants.items():
        shown = re.search(as_pattern(variant), text, re.IGNORECASE)
        assert not shown, f"{page}: {shown and shown[0]!r}; the word is {word!r}"


def test_another_word_is_seen():
    for variant, text in (("word...", "Words"), ("two... word...", "twos\nwords"), ("ab", "Ab")):
        assert re.search(as_pattern(variant), f"of {text}.", re.IGNORECASE)
    assert not re.search(as_pattern("ab"), "abc cab")
