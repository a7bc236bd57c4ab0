"""Every sentence that the program can end with, taken from the code; ``...`` is what is worked out
only when it is said.

Where an error is raised with a text of its own, that is the sentence. The rest is where texts lie
in tables or are handed on: refusals of PostgreSQL, answers of the store, rules of settings,
objections to a restore, what a task of a playbook fails with.
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml
from yaml import CSafeLoader

from postgres_backup import errors
from tests import sources

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "module_utils/postgres_backup"
#: what is put in by the code
GAP = "..."
#: letters of a sentence that must be its own; with fewer it is another's, handed on
_LEAST = 8
#: letters of a sentence by most of which it is known, whatever follows
_TOLD = 30
_KINDS = {
    name
    for name, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.PostgresBackupError)
}
#: the class says it
_HAVE_THEIR_OWN = {"StoppedError"}


@functools.cache
def sentences() -> dict[str, str]:
    """Sentence -> where it is said."""
    found: dict[str, str] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        room = str(path.relative_to(PACKAGE))
        tree = sources.tree(path)
        for node, text in [*_raised(tree), *_OF_ROOM.get(room, _none)(tree)]:
            sentence = _tidy(text)
            if len(sentence.replace(GAP, "").strip(" :;,.()\"'")) >= _LEAST:
                found.setdefault(sentence, f"{room}:{node.lineno}")
    for place in _PLUGINS:
        for node, text in _of_calls(sources.tree(ROOT / place)):
            if _letters(sentence := _tidy(text)) >= _LEAST:
                found.setdefault(sentence, f"{place}:{node.lineno}")
    for path in sorted([*ROOT.glob("roles/*/tasks/**/*.yml"), *ROOT.glob("playbooks/**/*.yml")]):
        if path.stem == "demo":  # make demo: nobody types its variables
            continue
        for text in _of_tasks(yaml.load(path.read_bytes(), CSafeLoader)):
            sentence = _tidy(re.sub(r"{{.*?}}|{%.*?%}", GAP, text, flags=re.DOTALL))
            if len(sentence.replace(GAP, "")) >= _LEAST:
                found.setdefault(sentence, str(path.relative_to(ROOT)))
    return found


def without_a_way_out() -> Iterator[str]:
    """Where an error is raised that does not say what to do next."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(sources.tree(path)):
            if _called(node) not in _KINDS - _HAVE_THEIR_OWN:
                continue
            named = [keyword.value for keyword in node.keywords if keyword.arg == "hint"]
            hint = (named or [*node.args[1:2], None])[0]
            if hint is None or (isinstance(hint, ast.Constant) and not hint.value):
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}"


def begins(pattern: str, said: str) -> bool:
    """Whether what is said begins as a pattern has it, in which ``...`` stands for anything."""
    return _beginning(pattern).match(_flat(said)) is not None


@functools.cache  # each is compared with every sentence
def _beginning(pattern: str) -> re.Pattern[str]:
    words = [re.escape(_flat(word)) for word in pattern.split(GAP)]
    return re.compile(".*".join(words), re.DOTALL)


def tells(pattern: str, sentence: str) -> bool:
    """Whether a pattern is of that sentence, and not of all that begin so: it has most of its
    words, or of a long one enough to know it by.
    """
    return begins(pattern, sentence) and _letters(pattern) >= 0.6 * min(_letters(sentence), _TOLD)


@functools.cache
def _letters(pattern: str) -> int:
    return len(_flat(pattern.replace(GAP, "")))


@functools.cache
def _flat(text: str) -> str:
    return "".join(text.split())


def source() -> str:
    """The program's text, as far as it is written in one piece."""
    places = [
        *PACKAGE.rglob("*.py"),
        *ROOT.glob("roles/*/action_plugins/*.py"),
        *ROOT.glob("callback_plugins/*.py"),
        *ROOT.glob("playbooks/templates/*.j2"),
    ]
    text = "".join(path.read_text(encoding="utf-8") for path in places)
    return re.sub(r'"\s*f?"', "", text)


def _tidy(text: str) -> str:
    return re.sub(r"(\.\.\.\s*)+", f"{GAP} ", " ".join(text.split())).strip()


def _text(node: ast.AST) -> str:
    """A text as far as it is written down."""
    match node:
        case ast.Constant(value=str(text)):
            return re.sub(r"{[^{}]*}", GAP, text)
        case ast.JoinedStr(values=parts):
            return "".join(part.value if isinstance(part, ast.Constant) else GAP for part in parts)
        case ast.BinOp(left=left, right=right):
            return _text(left) + _text(right)
        case ast.IfExp(body=body, orelse=orelse):
            return _text(body) if _text(body) != GAP else _text(orelse)
    return GAP


def _called(node: ast.AST) -> str:
    """The name of what a node calls; empty where it calls nothing."""
    if not isinstance(node, ast.Call):
        return ""
    return getattr(node.func, "id", getattr(node.func, "attr", ""))


def _raised(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    for node in ast.walk(tree):
        if _called(node) in _KINDS and node.args:
            yield node, _text(node.args[0])
        if _called(node) == "add" and ast.unparse(node.func).endswith("objections.add"):
            yield node, _text(node.args[1])


def _none(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    yield from ()


def _rules(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Of the settings: what each rule says of a value that breaks it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("Rule"):
            yield node, _text(node.args[1]).replace("{!r}", GAP)


def _refusals(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Of PostgreSQL: why it lets nobody in."""
    for node in ast.walk(tree):
        if _called(node) == "_Cause":
            yield node, f"Failed to {_text(node.args[0])}"
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(target, ast.Name) and target.id == "_REFUSALS":
            for one in node.value.elts:
                yield one, f"Failed to trust PostgreSQL at {GAP}: {_text(one.elts[1])}"


def _answers(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Of the store: what is said of its answers, and where it gives none."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
            yield node, f"Failed to {GAP}: {_text(node.value.elts[0])}"


def _of_calls(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Of what a playbook asks first: what is wrong with what was typed or set."""
    for function in ast.walk(tree):
        if getattr(function, "name", "") in _JUDGES:
            for node in ast.walk(function):
                if isinstance(node, ast.Return | ast.Assign) or _called(node) == "append":
                    value = node.args[0] if isinstance(node, ast.Call) else node.value
                    if isinstance(value, ast.JoinedStr) and len(value.values) > 1:
                        yield node, _text(value)


#: what Ansible runs on the controller before anything else
_PLUGINS = ("roles/backup/action_plugins/backup_call.py", "callback_plugins/checkout.py")
#: functions that say it
_JUDGES = (
    "refusal",
    "_judge_given",
    "_judge_written",
    "wrong_setting",
    "_wrong_value",
    "_not_ours",
)
_OF_ROOM: dict[str, Callable[[ast.AST], Iterator[tuple[ast.AST, str]]]] = {
    "settings.py": _rules,
    "postgresql/refusals.py": _refusals,
    "s3/explanations.py": _answers,
}


def _of_tasks(tasks: object) -> Iterator[str]:
    """What tasks fail with, those within blocks too."""
    if isinstance(tasks, list):
        for task in tasks:
            yield from _of_tasks(task)
    if isinstance(tasks, dict):
        for name, value in tasks.items():
            if name in ("ansible.builtin.assert", "ansible.builtin.fail"):
                yield str(value.get("fail_msg") or value.get("msg") or "")
            else:
                yield from _of_tasks(value)
