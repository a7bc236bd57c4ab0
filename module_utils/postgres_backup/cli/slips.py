"""What was typed wrongly, in words: which command or option is meant, and what it takes. Pure.

argparse says what is wrong and not what would be right; its words are taken apart here. Words that
are not known stay as they are.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence

#: how like a known word one must be, to be a slip of it
_LIKE = 0.7
#: what others call it
_ELSEWHERE = {
    "ls": "list",
    "show": "list",
    "info": "status",
    "check": "verify",
    "dump": "backup",
    "create": "backup",
    "delete": "prune",
    "expire": "prune",
    "log": "history",
    "logs": "history",
    "--dry-run": "--check",
    "--db": "--database",
    "--table": "--tables",
}
_CHOICE = re.compile(r"argument (?P<of>.+?): invalid choice: '(?P<typed>.*?)' \(choose from (.*)\)")
_NO_VALUE = re.compile(r"argument (?P<of>.+?): expected (one|at least one) argument")
_A_VALUE = re.compile(r"argument (?P<of>.+?): ignored explicit argument '(?P<typed>.*)'")
_MISSING = re.compile(r"the following arguments are required: (?P<of>.+)")


def told(message: str, program: str, options: Mapping[str, str]) -> tuple[str, str]:
    """What is wrong with what was typed, and what to do.

    :param message: argparse's.
    :param program: what the words before are: ``postgres-backup restore``.
    :param options: option -> what its value is called, empty where it takes none.
    """
    help_ = f"{program} --help shows what there is"
    if found := _CHOICE.fullmatch(message):
        words = re.findall(r"[\w-]+", found[3])
        if found["of"] == "COMMAND":
            return _command(found["typed"], words, program)
        either = f"{', '.join(words[:-1])} or {words[-1]}"
        return f"{found['of']} is {either}, not {found['typed']!r}", help_
    if found := _NO_VALUE.fullmatch(message):
        option = found["of"].split("/")[-1]
        return f"{option} lacks its value", f"{option} {options.get(option) or 'VALUE'}. {help_}"
    if found := _A_VALUE.fullmatch(message):
        return f"{found['of']} takes no value, such as {found['typed']!r}", help_
    if found := _MISSING.fullmatch(message):
        if found["of"] == "COMMAND":
            return "no command was given", f"Such as {program} status. {help_}"
        lacking = found["of"].split(", ")
        typed = [f"{one} {options.get(one, '')}".strip() for one in lacking]
        name = program.rpartition(" ")[2]
        return f"{name} lacks {' and '.join(lacking)}", f"{program} {' '.join(typed)}. {help_}"
    return message, help_


def _command(typed: str, commands: Sequence[str], program: str) -> tuple[str, str]:
    said = f"there is no command {typed!r}"
    if "=" in typed:
        name, _, value = typed.partition("=")
        return said, (
            f"-e {name}={value} is for ansible-playbook; here it is {program} restore latest, or "
            f"--{name} behind a command. {program} --help shows what there is"
        )
    if typed == "version":
        return said, f"Type {program} --version. {program} --help shows what there is"
    near = [one for one in commands if one.startswith(f"{typed}-")] or meant(typed, commands)
    which = f"Did you mean {near[0]}? " if near else ""
    return said, f"{which}{program} --help shows what there is"


def left_over(words: Sequence[str], program: str, options: Mapping[str, str]) -> tuple[str, str]:
    """The same of words that nothing took."""
    help_ = f"{program} --help shows what there is"
    word = words[0].partition("=")[0]
    name = program.rpartition(" ")[2]
    if word == "-e":
        return f"{name} takes no -e", f"That is for ansible-playbook. {help_}"
    if word.startswith("-"):
        near = meant(word, [one for one in options if one.startswith("--")])
        takes = f"Did you mean {f'{near[0]} {options[near[0]]}'.strip()}? " if near else ""
        return f"{name} takes no {word}", f"{takes}{help_}"
    named = f"A database is named by --database {words[0]}. " if "--database" in options else ""
    return f"{name} does not take {words[0]!r}", f"{named}{help_}"


def meant(typed: str, known: Sequence[str]) -> list[str]:
    """The known word that this one is a slip of, or another name for; none where it is none."""
    if _ELSEWHERE.get(typed) in known:
        return [_ELSEWHERE[typed]]
    dashes = "--" if typed.startswith("-") else ""
    plain = dashes + typed.lstrip("-").lower().replace("_", "-")
    return difflib.get_close_matches(plain, known, n=1, cutoff=_LIKE)
