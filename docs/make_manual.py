"""Writes what man, bash and zsh know of the command line, from its parser:

    .venv/bin/python -m docs.make_manual            writes what is out of date
    .venv/bin/python -m docs.make_manual --check    only says what is, and ends with 1 then

The files lie in roles/backup/files; setup.yml lays them on a server.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from docs.make_tables import ROOT, commands, parser, write

FILES = ROOT / "roles/backup/files"
WRITTEN_BY = "written by docs/make_manual.py"
#: metavars, and options, whose values are names of files
_FILES, _FOLDERS = ("--config", "--identity", "--log-file", "--junit"), ("--to",)
#: commands that take a backup or a kit by name, or its newest
_TAKE_LATEST = ("restore", "drill", "verify", "restore-kit")
#: who reads the manual looks for these
_STATUS = (
    ("0", "Done."),
    ("1", "Failed, and nothing was lost."),
    ("2", "Wrong usage or settings; nothing was touched."),
    ("3", "Another run holds the lock."),
    ("4", "A check found a backup bad, or the server is not well."),
)
_PLACES = (
    ("/etc/postgres-backup/backup-config.env", "The settings; setup.yml writes them."),
    ("/etc/cron.d/postgres-backup", "The schedule."),
    ("/var/log/postgres-backup.log", "What the nights did."),
    ("/var/lib/postgres-backup", "What this server remembers."),
)


def options(of: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """What may be typed behind a command, but for other commands."""
    return (action for action in of._actions if not isinstance(action, argparse._SubParsersAction))


def flags(of: argparse.ArgumentParser) -> list[str]:
    return [option for action in options(of) for option in action.option_strings]


def _own(of: argparse.ArgumentParser) -> list[argparse.Action]:
    common = set(flags(parser()))
    return [action for action in options(of) if not common & set(action.option_strings)]


def _value(action: argparse.Action) -> str:
    """What stands for the value of an option; empty where it takes none."""
    if action.nargs == 0:
        return ""
    return str(action.metavar or "|".join(map(str, action.choices or ())))


def examples(of: argparse.ArgumentParser) -> list[str]:
    return [line.strip() for line in str(of.epilog).splitlines() if line.startswith("  ")]


# --- man


def _roff(text: str) -> str:
    """As troff prints it: a dash is one, and no line is a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "")
    return re.sub(r"(?m)^([.\'])", r"\\&\1", text)


def _man_option(action: argparse.Action) -> list[str]:
    typed = ", ".join(f"\\fB{_roff(option)}\\fR" for option in action.option_strings)
    value = _roff(_value(action))
    shown = " ".join(filter(None, [typed, f"\\fI{value}\\fR" if value else ""]))
    return [".TP", shown, _roff(str(action.help))]


def manual() -> str:
    """The manual page, in the macros ``man``."""
    whole = parser()
    version = re.search(r"[0-9][^ ]*", str(whole._option_string_actions["--version"].version))  # type: ignore[attr-defined]
    lines = [
        f'.\\" {WRITTEN_BY}',
        f'.TH POSTGRES-BACKUP 1 "" "postgres-backup {version[0] if version else ""}"',
        ".SH NAME",
        "postgres\\-backup \\- back up PostgreSQL into S3\\-compatible storage, and restore it",
        ".SH SYNOPSIS",
        ".B postgres\\-backup",
        ".I COMMAND",
        "[\\fIOPTIONS\\fR]",
        ".SH DESCRIPTION",
        _roff(str(whole.description)),
        "Every command is typed as root, and becomes the user that owns the settings.",
        ".SH COMMANDS",
    ]
    for name, command in commands().items():
        places = [_roff(str(a.metavar)) for a in _own(command) if not a.option_strings]
        shown = " ".join([f"\\fB{_roff(name)}\\fR", *(f"\\fI{place}\\fR" for place in places)])
        lines += [f".SS {shown}", _roff(str(command.description))]
        for action in _own(command):
            lines += _man_option(action)
    lines.append(".SH OPTIONS OF EVERY COMMAND")
    for action in options(whole):
        lines += _man_option(action)
    lines.append(".SH EXIT STATUS")
    for status, meaning in _STATUS:
        lines += [".TP", f".B {status}", _roff(meaning)]
    lines.append(".SH FILES")
    for place, meaning in _PLACES:
        lines += [".TP", f".I {_roff(place)}", _roff(meaning)]
    lines += [".SH EXAMPLES", ".EX"]
    lines += [_roff(line) for command in commands().values() for line in examples(command)]
    return "\n".join([*lines, ".EE", ""])


# --- bash


def _case(pattern: Sequence[str], words: Sequence[str]) -> str:
    return f'        {" | ".join(pattern)}) words="{" ".join(words)}" ;;\n'


def bash() -> str:
    """The completion of bash, with nothing but bash."""
    everywhere = flags(parser())
    taking: dict[str, list[str]] = {}
    for of in (parser(), *commands().values()):
        for action in options(of):
            if action.option_strings and action.nargs != 0:
                taking[action.option_strings[-1]] = [str(one) for one in action.choices or ()]
    chosen = {option: words for option, words in taking.items() if words}
    silent = [o for o in taking if o not in (*chosen, *_FILES, *_FOLDERS)]
    values = "".join(_case([option], words) for option, words in chosen.items())
    known = "".join(
        _case([name], [*(["latest"] if name in _TAKE_LATEST else []), *flags(command)])
        for name, command in commands().items()
    )
    return f"""\
# Completion of postgres-backup for bash; {WRITTEN_BY}.
_postgres_backup() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} command= words= at
    COMPREPLY=()
    for ((at = 1; at < COMP_CWORD; at++)); do
        case ${{COMP_WORDS[at]}} in
        --config | --log-format) ((at++)) ;;
        -*) ;;
        *)
            command=${{COMP_WORDS[at]}}
            break
            ;;
        esac
    done
    case $before in
        {" | ".join(_FILES)})
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            compopt -o filenames 2> /dev/null || :
            return ;;
        {" | ".join(_FOLDERS)})
            mapfile -t COMPREPLY < <(compgen -d -- "$word")
            compopt -o filenames 2> /dev/null || :
            return ;;
        {" | ".join(silent)}) return ;;
{values}    esac
    [[ $words ]] || case $command in
        "") words="{" ".join([*commands(), *everywhere])}" ;;
{known}    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}}
complete -F _postgres_backup postgres-backup
"""


# --- zsh


def _zsh(text: str) -> str:
    """Inside of a specification in single quotes."""
    text = re.sub(r"([\\\[\]:])", r"\\\1", text.replace("`", ""))
    return text.replace("'", "'\\''")


def _zsh_argument(action: argparse.Action, command: str = "") -> str:
    value = _zsh(_value(action)) or "value"
    if not action.option_strings:
        does = "(latest)" if command in _TAKE_LATEST else ""
        return f"'{'*' if action.nargs == '*' else ':'}:{value}:{does}'"
    spec = f"{action.option_strings[-1]}[{_zsh(str(action.help))}]"
    if action.nargs == 0:
        return f"'{spec}'"
    does = f"({' '.join(map(str, action.choices))})" if action.choices else ""
    if action.option_strings[-1] in _FILES:
        does = "_files"
    elif action.option_strings[-1] in _FOLDERS:
        does = "_files -/"
    return f"'{spec}:{value}:{does}'"


def zsh() -> str:
    """The completion of zsh."""
    known = "\n".join(
        f"            '{name}:{_zsh(str(command.description))}'"
        for name, command in commands().items()
    )
    everywhere = " \\\n        ".join(_zsh_argument(action) for action in options(parser()))
    cases = "\n".join(
        f"            {name}) _arguments \\\n                "
        + " \\\n                ".join(_zsh_argument(one, name) for one in options(command))
        + " ;;"
        for name, command in commands().items()
    )
    return f"""\
#compdef postgres-backup
# Completion of postgres-backup for zsh; {WRITTEN_BY}.
_postgres_backup() {{
    local state line
    local -a known
    _arguments -C \\
        {everywhere} \\
        '1:command:->command' '*::argument:->rest'
    case $state in
    command)
        known=(
{known}
        )
        _describe command known ;;
    rest)
        case $words[1] in
{cases}
        esac ;;
    esac
}}
_postgres_backup "$@"
"""


#: file in roles/backup/files -> what makes it
MAKERS = {"postgres-backup.1": manual, "postgres-backup.bash": bash, "_postgres-backup": zsh}


def files() -> dict[Path, str]:
    """Each as the parser says."""
    return {FILES / name: make() for name, make in MAKERS.items()}


def main(argv: Sequence[str] | None = None) -> int:
    return write("Write the manual and the completions.", files, argv)


if __name__ == "__main__":
    sys.exit(main())
