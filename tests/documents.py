"""The documents taken apart: headings, links, fenced blocks, and the commands in them."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: read by people who want to get something done; the commands they show are run by
#: tests/integration/test_readme.py
DOCUMENTS = (
    *("README.md", "docs/setup.md", "docs/cookbook.md", "docs/DISASTERS.md", "docs/monitoring.md"),
    *("docs/drills.md", "docs/pitr.md", "docs/from-the-scripts.md", "docs/troubleshooting.md"),
    *(
        "docs/reference.md",
        "docs/stores.md",
        "docs/copy.md",
        "docs/how-it-works.md",
        "docs/glossary.md",
    ),
    "docs/scale.md",
    *("SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"),
)
#: the page in Russian for each document that has one: tests/unit/test_russian.py keeps them equal
RUSSIAN = {
    "README.md": "docs/ru/README.md",
    "docs/setup.md": "docs/ru/setup.md",
    "docs/DISASTERS.md": "docs/ru/DISASTERS.md",
    "docs/from-the-scripts.md": "docs/ru/from-the-scripts.md",
    "docs/troubleshooting.md": "docs/ru/troubleshooting.md",
    "docs/glossary.md": "docs/ru/words.md",
}
#: the links between the two, on the line below the title
IN_RUSSIAN, IN_ENGLISH = "По-русски", "In English"

_FENCE = re.compile(r"^( *)```(\w*)$\n(.*?)^\1```$\n?", re.MULTILINE | re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block.

    :param line: where its fence opens, from 1.
    :param language: what stands behind the fence: ``sh``, ``text``, ``yaml``, ...
    :param answers: it is the first thing after a block of commands: what they print.
    """

    document: str
    line: int
    language: str
    text: str
    answers: bool = False

    @property
    def where(self) -> str:
        return f"{self.document}:{self.line}"

    def commands(self) -> list[str]:
        """One command a line, as a shell would take them; comments left out, continued lines
        joined.
        """
        text = re.sub(r"\\\n\s*", "", self.text)
        text = re.sub(r"\|\n\s*", "| ", text)
        lines = (re.sub(r"(?:^|\s+)# .*$", "", line).strip() for line in text.splitlines())
        return [line for line in lines if line]


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading, with what stands under it up to the next one of any level.

    :param level: how many ``#`` it has.
    """

    document: str
    level: int
    heading: str
    text: str

    @property
    def where(self) -> str:
        return f"{self.document}: {self.heading}"


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(document: str, text: str | None = None) -> list[Block]:
    """Every fenced block of a document, in order."""
    text = text_of(document) if text is None else text
    found: list[Block] = []
    end = 0
    for match in _FENCE.finditer(text):
        between = text[end : match.start()]
        answers = (
            match[2] == "text"
            and bool(found)
            and found[-1].language == "sh"
            and not between.strip()
        )
        body = re.sub(rf"^{match[1]}", "", match[3], flags=re.MULTILINE)
        found.append(
            Block(document, text.count("\n", 0, match.start()) + 1, match[2], body, answers)
        )
        end = match.end()
    return found


def prose(document: str, text: str | None = None) -> str:
    """The document, or a text of it, without its fenced blocks."""
    return _FENCE.sub("", text_of(document) if text is None else text)


def anchor(heading: str) -> str:
    """What leads to a heading behind ``#``, as the usual viewers of Markdown name it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors(document: str) -> set[str]:
    """What ``#...`` in a link to the document may be."""
    return {anchor(found.heading) for found in sections(document)}


def links(document: str, text: str | None = None) -> list[str]:
    """Where the links of a document, or of a text of it, lead, in order."""
    return re.findall(r"\]\(([^)\s]+)\)", prose(document, text))


def sections(document: str) -> list[Section]:
    """The whole document, heading by heading; a comment in a fenced block is no heading."""
    text = text_of(document)
    fences = [match.span() for match in _FENCE.finditer(text)]
    heads = [
        head
        for head in re.finditer(r"^(#+) (.+)$", text, re.MULTILINE)
        if not any(start <= head.start() < end for start, end in fences)
    ]
    ends = [*(head.start() for head in heads[1:]), len(text)]
    return [
        Section(document, len(head[1]), head[2], text[head.end() : end])
        for head, end in zip(heads, ends, strict=True)
    ]


def section(document: str, heading: str) -> str:
    """The text under a heading, to the next one of the same level or above.

    :raises LookupError: there is no such heading.
    """
    text = text_of(document)
    match = re.search(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
    if not match:
        raise LookupError(f"{document} has no heading {heading!r}")
    rest = text[match.end() :]
    following = re.search(rf"^#{{1,{len(match[1])}}} ", rest, re.MULTILINE)
    return rest[: following.start()] if following else rest


def table_rows(text: str) -> list[list[str]]:
    """The cells of every table row in a piece of Markdown, heads and rulers included; ``\\|`` is a
    bar within a cell.
    """
    rows = re.findall(r"^\|(.*)\|$", text, re.MULTILINE)
    return [
        [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", row)] for row in rows
    ]
