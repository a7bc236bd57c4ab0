"""Writes the tables of the documents that say what the code says, between their markers.

    .venv/bin/python -m docs.make_tables            writes what is out of date
    .venv/bin/python -m docs.make_tables --check    only says what is, and ends with 1 then

A table stands between ``<!-- table: NAME -->`` and ``<!-- /table -->``. Its words are in one place
only: the roles' argument_specs (variables), the parser's help (commands, options), findings.GROUPS
and docs/findings.yml, s3/calls, s3/probe, what `make stores` found (docs/stores/*.json),
short_description of the modules, FLOORS and the folders of the package.
"""

from __future__ import annotations

import argparse
import ast
import functools
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "module_utils/postgres_backup"
COMMAND = ".venv/bin/python -m docs.make_tables"
#: roles whose variables are set by other roles, never by a user
BETWEEN_ROLES = ("packages",)
#: the documents that have such tables
WITH_TABLES = ("docs/reference.md", "docs/troubleshooting.md", "docs/stores.md", "CONTRIBUTING.md")

#: what each folder of the package knows, and each room that lies in none
KNOWS = {
    "__main__": "starts the command line, nothing else",
    "cli": "how to ask and how to answer; decides nothing",
    "nightly": "several use cases in a row: a night, the hourly look, taking over old backups",
    "drill": "the way back as a routine: restore beside the live one, compare, measure, remove",
    "copying": "the second store, and what its own retention deletes; a move to another prefix",
    "backup": "the way out: take a backup, save the kit, delete what is past its time",
    "restore": "the way back: into a side database and swapped, in place, or single tables",
    "pitr": "recovery to any second: asks and drives pgBackRest, which alone is named here",
    "moving": "older scripts: found, switched off in one step, and on again; shipped by Ansible",
    "page": "the report as one HTML file; on the controller only, not packed for servers",
    "health": "is all well, and who is told: status, alarms, trend, metrics, costs",
    "verify": "reads a backup back, and proves that it is whole",
    "postgresql": "the server: connections, pg_dump, loads, databases, the swap of names",
    "catalog": "what is in the bucket: names, manifests, owners, journal, retention",
    "job": "what one piece of work is about: settings, database, keys, check, progress",
    "stream": "the bytes of a dump: scanner, inspector, guard, compression, encryption",
    "s3": "the store: calls, uploads in parts, downloads, the bucket, what its errors mean",
    "signing": "whose word it is: this server's key, whom it believes, OpenSSH's signatures",
    "machine": "this machine: config file, lock, state, clock of the schedule, signals, progress",
    "settings": "the settings, checked; knows of no file",
    "errors": "the errors with their exit statuses",
    "shapes": "JSON of others, read as the shape that it should have, or not at all",
    "findings": "every finding, by a name that never changes",
    "clock": "times as text, and back",
    "text": "sizes, durations and names as a person reads them",
}

_MARKED = re.compile(r"(<!-- table: (.+?) -->\n)(.*?)(<!-- /table -->)", re.DOTALL)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; a bar within a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(
        "| " + " | ".join(cell.replace("|", r"\|") for cell in line).replace("|  |", "| |") + " |\n"
        for line in lines
    )


@functools.cache
def variables() -> dict[str, dict[str, object]]:
    """Every variable that a user may set, with its specification.

    The main entry point of a role has them all. What only one call is given (``backup``,
    ``database``) does not begin with a role's name and is not among them.
    """
    paths = [
        path
        for path in sorted(ROOT.glob("roles/*/meta/argument_specs.yml"), key=_in_order_of_interest)
        if path.parent.parent.name not in BETWEEN_ROLES
    ]
    roles = tuple(f"{path.parent.parent.name}_" for path in paths)
    found: dict[str, dict[str, object]] = {}
    for path in paths:
        main = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]["main"]
        found |= {
            name: it for name, it in main.get("options", {}).items() if name.startswith(roles)
        }
    return found


def _in_order_of_interest(path: Path) -> tuple[int, str]:
    """The role whose variables everybody sets comes first, that of a rebuild next."""
    role = path.parent.parent.name
    first = ("backup", "bucket", "app", "docker", "postgres_server", "postgres_client")
    return (first.index(role) if role in first else len(first), role)


def config_names() -> dict[str, list[str]]:
    """Variable -> the names under which it stands in the config file on a server."""
    template = (ROOT / "roles/backup/templates/backup-config.env.j2").read_text(encoding="utf-8")
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(?:export )?([A-Z0-9_]+)=\{\{ (\w+)", template, re.MULTILINE):
        found.setdefault(value, []).append(name)
    return found


def until_found_out(value: str) -> str:
    """What stands for a default that a run finds out, until it has; others as they are."""
    return re.sub(r"^\{\{ __\w+ \| default\('(.*)'\) \}\}$", r"\1", value)


def default_of(option: Mapping[str, object]) -> str:
    """A default as a user would write it in YAML."""
    if "default" not in option:
        return "must be set"
    value = option["default"]
    if value == "":
        return "empty"
    if isinstance(value, str):
        value = until_found_out(value)
        if len(value) > 100:
            return "worked out"
        # a time of day or a version in quotes: YAML would take others of its kind for numbers
        plain = value.startswith("{{") or not re.fullmatch(r"[\d:.]+", value)
        return f"`{value}`" if plain else f"`{json.dumps(value)}`"
    return f"`{json.dumps(value)}`"


def words(description: object) -> str:
    """A description as Ansible has it, in Markdown."""
    text = " ".join(description) if isinstance(description, list) else str(description)
    text = re.sub(r"\b[BCIOV]\(([^)]*)\)", r"`\1`", text)
    return " ".join(text.split())


def table_of_variables() -> str:
    names = config_names()
    return table(
        ("variable", "default", "config", "meaning"),
        [
            (
                f"`{name}`",
                default_of(option),
                " ".join(f"`{config}`" for config in names.get(name, [])),
                words(option["description"]),
            )
            for name, option in variables().items()
        ],
    )


@functools.cache
def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    from postgres_backup.cli.commands import COMMANDS
    from postgres_backup.cli.parser import build

    return build(COMMANDS.values())


def commands() -> dict[str, argparse.ArgumentParser]:
    return next(
        dict(action.choices)
        for action in parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )


def _shown(action: argparse.Action) -> str:
    """An option or argument as it is typed."""
    if not action.option_strings:
        return f"[{action.metavar}]" if action.nargs == "?" else str(action.metavar)
    value = action.metavar or "|".join(map(str, action.choices or ()))
    return f"{action.option_strings[-1]} {value}".strip()


def _own(of: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """What a command takes beside that which every command takes."""
    common = {option for action in parser()._actions for option in action.option_strings}
    return (action for action in of._actions if not common & set(action.option_strings))


def table_of_commands() -> str:
    rows = []
    for name, command in commands().items():
        arguments = [_shown(action) for action in _own(command) if not action.option_strings]
        options = [f"`{_shown(action)}`" for action in _own(command) if action.option_strings]
        does = str(command.description)
        rows.append((f"`{' '.join([name, *arguments])}`", " ".join(options), does))
    return table(("command", "options", "what it does"), rows)


def table_of_options() -> str:
    """Each option and argument of the commands; those that read alike in one row."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, command in commands().items():
        for action in _own(command):
            found.setdefault((_shown(action), str(action.help)), []).append(f"`{name}`")
    return table(
        ("option", "of", "meaning"),
        [(f"`{shown}`", " ".join(names), meaning) for (shown, meaning), names in found.items()],
    )


def table_of_common_options() -> str:
    return table(
        ("option of every command", "meaning"),
        [
            (f"`{_shown(action)}`", str(action.help))
            for action in parser()._actions
            if action.option_strings and "--version" not in action.option_strings
        ],
    )


def table_of_modules() -> str:
    rows = []
    for path in sorted(ROOT.glob("library/*.py")):
        documentation = next(
            ast.literal_eval(node.value)
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id == "DOCUMENTATION"
        )
        does = yaml.safe_load(documentation)["short_description"]
        rows.append((f"`{path.stem}`", f"{does}."))
    return table(("module", "what it does"), rows)


def table_of_extra_variables() -> str:
    """What may be given with one call of a playbook."""
    path = ROOT / "playbooks/vars/calls.yml"
    calls = yaml.safe_load(path.read_text(encoding="utf-8"))
    rows = [
        (f"`{it.get('example', f'{name}=')}`", ", ".join(it["playbooks"]), it["means"])
        for name, it in calls.items()
    ]
    hosts = "Which hosts of the inventory; `--limit` does the same."
    rows.append(("`backup_hosts=db1`", "all", hosts))
    return table(("variable", "playbooks", "meaning"), rows)


def table_of_findings(heading: str) -> str:
    from postgres_backup.findings import GROUPS

    mends = mends_of_findings()
    return table(
        ("finding", "cause", "check", "mend"),
        [
            (
                ", ".join(f"`{code}`" for code in codes),
                text,
                mends.get(codes[0], {}).get("check", ""),
                mends.get(codes[0], {}).get("mend", ""),
            )
            for codes, text in GROUPS[heading].items()
        ],
    )


@functools.cache
def mends_of_findings() -> dict[str, dict[str, str]]:
    """Finding -> ``check`` (may be missing) and ``mend``; of those that mean the same, the first.

    They are for the reader of the documents alone: the program would carry them to each server.
    """
    path = ROOT / "docs/findings.yml"
    found: dict[str, dict[str, str]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def table_of_calls() -> str:
    """What is asked of the store: what a backup is first, then what is done beside it."""
    from postgres_backup.s3.calls import CALLS, Part

    ordered = [call for part in Part for call in CALLS.values() if call.part is part]
    return table(
        ("what for", "request", "it is", "where the store does not do it", "finding"),
        [
            (
                call.purpose,
                " ".join(call.requests),
                call.part.value,
                call.refused,
                f"`{call.finding}`" if call.finding else "",
            )
            for call in ordered
        ],
    )


#: what a row of `store-check` comes to, in one word
STATES = {
    "works": "yes",
    "lacks": "no",
    "ignores": "no, and says yes",
    "warns": "beware",
    "untried": "not known",
}
#: store, by the name of its record -> as people call it
STORES = {
    "seaweedfs": "SeaweedFS",
    "ceph": "Ceph RGW",
    "juicefs": "JuiceFS gateway",
    "rclone": "rclone",
    "nanio": "nanio",
    "moto": "moto",
}


def table_of_lacks() -> str:
    """What falls away where a store does not do something, and what to do."""
    from postgres_backup.s3.probe import KINDS

    return table(
        ("what it may lack", "what falls away", "what to do"),
        [(kind.does, kind.lost, kind.todo) for kind in KINDS.values()],
    )


def table_of_stores() -> str:
    """What was found on each store, from docs/stores/*.json."""
    from postgres_backup.s3.probe import KINDS

    records = {
        name: json.loads((ROOT / f"docs/stores/{name}.json").read_text(encoding="utf-8"))
        for name in STORES
    }
    rows = [
        [kind.does, *(STATES[one["rows"][name][0]] for one in records.values())]
        for name, kind in KINDS.items()
        if name not in ("versions", "lock")
    ]
    rows += [
        [KINDS[name].does, *(STATES[one["locked"][name][0]] for one in records.values())]
        for name in ("versions", "lock")
    ]
    heads = [f"{STORES[name]} {one['version']}" for name, one in records.items()]
    return table(("what", *heads), rows)


def rooms() -> dict[str, list[str]]:
    """Folder -> its rooms; a room that lies in no folder has none."""
    found: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.stem != "__init__":
            folder, *room = path.relative_to(PACKAGE).with_suffix("").parts
            found.setdefault(folder, []).extend(room)
    return found


def picture_of_the_house() -> str:
    """The floors from the top down: each folder, what it knows, its rooms."""
    from postgres_backup import FLOORS

    lines = []
    for number, folders in enumerate(FLOORS):
        for place, folder in enumerate(folders):
            floor = "" if place else str(len(FLOORS) - 1 - number)
            lines.append(f"{floor:>2}  {folder + '/' * bool(rooms()[folder]):<13}{KNOWS[folder]}")
            indent = " " * 19
            lines += textwrap.wrap(
                " ".join(rooms()[folder]), 98, initial_indent=indent, subsequent_indent=indent
            )
    return "```text\n" + "\n".join(line.rstrip() for line in lines) + "\n```\n"


def makers() -> dict[str, Callable[[], str]]:
    """Name of a table -> the function that makes it."""
    from postgres_backup.findings import GROUPS

    return {
        "variables": table_of_variables,
        "extra variables": table_of_extra_variables,
        "options of every command": table_of_common_options,
        "commands": table_of_commands,
        "options of the commands": table_of_options,
        "modules": table_of_modules,
        "calls to the store": table_of_calls,
        "what a store may lack": table_of_lacks,
        "what was found on stores": table_of_stores,
        "the house": picture_of_the_house,
    } | {
        f"findings, {heading}": lambda heading=heading: table_of_findings(heading)
        for heading in GROUPS
    }


def names_in(text: str) -> list[str]:
    """The tables that a document has."""
    return [match[2] for match in _MARKED.finditer(text)]


def filled(text: str) -> str:
    """A document with its tables as they have to be.

    :raises KeyError: it wants a table that nobody makes.
    """
    known = makers()
    return _MARKED.sub(lambda match: match[1] + known[match[2]]() + match[4], text)


def write(
    description: str, wanted: Callable[[], Mapping[Path, str]], argv: Sequence[str] | None
) -> int:
    """Write the files that are not as they should be; with ``--check`` only say which.

    :param wanted: what they should hold.
    :return: 1 where ``--check`` has found one; else 0.
    """
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("--check", action="store_true", help="only say what is out of date")
    check = arguments.parse_args(argv).check
    sys.path.insert(0, str(ROOT / "module_utils"))
    status = 0
    for path, text in wanted().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            status = int(check)
            print(f"{path.relative_to(ROOT)}: {'out of date' if check else 'written'}")
            if not check:
                path.write_text(text, encoding="utf-8")
    return status


def documents() -> dict[Path, str]:
    """Each document with its tables as the code says."""
    paths = [ROOT / document for document in WITH_TABLES]
    return {path: filled(path.read_text(encoding="utf-8")) for path in paths}


def main(argv: Sequence[str] | None = None) -> int:
    return write("Write the tables of the documents.", documents, argv)


if __name__ == "__main__":
    sys.exit(main())
