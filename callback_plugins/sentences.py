"""Shows what a server or a check refuses once, as the sentence that it is, and what a playbook has
to say as it is laid out; the rest of a run as Ansible's own output does.

Around such a sentence Ansible prints where its task stands, the sentence again, and what else the
task answered: a person looking for what to type finds it in the middle of fifteen lines. With
``-v`` they are all there. What Ansible itself has to say (a variable that is not defined, a module
that broke off) keeps them too: there the place in the file is the answer.

Of a task with no_log nothing is shown: Ansible 2.19 hides its answer, and then prints the message
as an error of its own (tried).
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Mapping

from ansible.plugins.callback.default import CallbackModule as Default

DOCUMENTATION = """
name: sentences
type: stdout
short_description: refusals as sentences
description:
  - As the default output, but what this project's modules and checks refuse is a sentence alone.
  - With C(-v) it is the default output.
extends_documentation_fragment: [default_callback, result_format_callback]
"""

#: Ansible's own actions that say nothing but what a playbook has them say
_SPEAKERS = ("assert", "fail", "validate_argument_spec")
#: and ours
_OURS = ("postgres_backup_", "backup_call")
#: what Ansible puts before its own words
_TASK_FAILED = "Task failed: "
#: what only the answer of a module has that broke off
_BROKEN = ("module_stderr", "module_stdout")
#: before the lines of a text; action_plugins/postgres_backup_columns.py leaves room for it
INDENT = "  "
#: a terminal of fewer columns has no room to indent
_FEWEST = 40


class CallbackModule(Default):
    """The default output, whose dump of a failed task's answer is a sentence where it has one."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "sentences"

    def __init__(self) -> None:
        super().__init__()
        self._sentence = ""

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._sentence = self._refusal(result)
        super().v2_runner_on_failed(result, ignore_errors)
        self._sentence = ""

    def v2_runner_item_on_failed(self, result):
        self._sentence = self._refusal(result)
        super().v2_runner_item_on_failed(result)
        self._sentence = ""

    def v2_runner_on_unreachable(self, result):
        self._sentence = self._refusal(result, unreachable=True)
        super().v2_runner_on_unreachable(result)
        self._sentence = ""

    def v2_runner_on_ok(self, result):
        self._sentence = self._message(result)
        super().v2_runner_on_ok(result)
        self._sentence = ""

    def v2_runner_item_on_ok(self, result):
        self._sentence = self._message(result)
        super().v2_runner_item_on_ok(result)
        self._sentence = ""

    def _message(self, result) -> str:
        """What a playbook has its task say, as its author has laid it out; else empty."""
        said = _answer(result).get("msg")
        says = _task(result).action.rpartition(".")[2] == "debug" and isinstance(said, str)
        return "" if self._display.verbosity or not says else said.rstrip()

    def _refusal(self, result, unreachable: bool = False) -> str:
        """The sentence of a failed task, and nothing else is then shown of it; empty where it is no
        sentence, or everything was asked for.
        """
        action, answer = _task(result).action, _answer(result)
        said = "" if self._display.verbosity else sentence(action, answer, unreachable)
        if said or _hidden(answer):
            answer.pop("exception", None)  # the same sentence with its place around it
        return broken(said, _columns())

    def _dump_results(self, result, *args, **kwargs):
        if not self._sentence:
            return super()._dump_results(result, *args, **kwargs)
        return laid_out(self._sentence)


def sentence(action: str, answer: Mapping, unreachable: bool = False) -> str:
    """What a failed task has to say to a person, where that is all; else nothing.

    :param action: its module, ``ansible.builtin.assert``.
    :param answer: of the module.
    """
    said, name = answer.get("msg"), action.rpartition(".")[2]
    if not isinstance(said, str) or not said.strip() or any(key in answer for key in _BROKEN):
        return ""
    if unreachable:
        return said.removeprefix(_TASK_FAILED).strip()
    speaks = name in _SPEAKERS or name.startswith(_OURS)
    return said.strip() if speaks and not said.startswith(_TASK_FAILED) else ""


def broken(said: str, columns: int) -> str:
    """A text in lines of so many columns, its commands too: the terminal would break them. 0: as it
    is.
    """
    rules = {"break_long_words": False, "break_on_hyphens": False}
    room, lines = columns - len(INDENT), list[str]()
    for line in said.splitlines() if columns else []:
        own = line[: len(line) - len(line.lstrip())]
        lines += textwrap.wrap(line, room, initial_indent="", subsequent_indent=own, **rules) or [
            ""
        ]
    return "\n".join(lines) if columns else said


def laid_out(said: str) -> str:
    """A text as it stands behind ``FAILED! =>``, or below it where it has several lines."""
    if "\n" not in said:
        return said
    return "".join(f"\n{INDENT}{line}".rstrip(" ") for line in said.splitlines())


def _columns() -> int:
    """Of the terminal; 0 where there is none, or one too narrow to indent in."""
    try:
        columns = os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):  # a pipe, a file, or nothing at all
        return 0
    return columns if columns >= _FEWEST else 0


def _hidden(answer: Mapping) -> bool:
    """Whether this is of a task with no_log."""
    return "censored" in answer or bool(answer.get("_ansible_no_log"))


def _task(result):
    return getattr(result, "task", None) or result._task


def _answer(result) -> dict:
    found = getattr(result, "result", None)
    return found if isinstance(found, dict) else result._result
