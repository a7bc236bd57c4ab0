"""Sees to it that no slip of the pen passes in silence, before anything is touched: in what was
given with ``-e``, and in the names of the variables of the inventory and of group_vars.

It runs on the controller, once a play, and asks no server. A name that is nearly a known one is
refused with the known one; so is what nobody knows of a call. Names far from all of ours are the
users' own: a warning where they look like ours, else nothing.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import yaml
from ansible import context
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.splitter import parse_kv
from ansible.plugins.action import ActionBase
from ansible.release import __version__
from ansible.utils.display import Display
from ansible.utils.vars import load_extra_vars

ROOT = Path(__file__).resolve().parents[3]
#: the oldest ansible-core that is tried
OLDEST = (2, 19)
#: names that begin so look like ours
OURS = ("backup_", "app_")
#: what plays tell each other, which is no setting and nobody's slip
INTERNAL = frozenset(
    "backup_call backup_ready backup_rehearsed backup_result app_in_setup app_needs app_kit"
    " app_kit_wanted app_repo_again app_services app_down_seconds app_started_at"
    " app_start_seconds app_stopped_at app_stop_seconds".split()
)
#: those that the filter ``bool`` knows: of ``t`` it makes False, and a play does not what was meant
TRUE = {"true", "yes", "on", "1"}
FALSE = {"false", "no", "off", "0"}
#: lists that a module alone reads, which takes a text too; others would be read letter by letter
_TAKEN_AS_TEXT = ("backup_age_identities",)
#: so many letters may be wrong
SLIP = 2
#: letters of a name for each that may be wrong: "test" is no slip of "fast"
LETTERS_A_SLIP = 3


@dataclasses.dataclass(frozen=True)
class Known:
    """The names that are known.

    :param settings: of group_vars and the inventory.
    :param options: of those, what argument_specs says of each: its ``type``, its ``choices``.
    :param calls: of ``-e``, as playbooks/vars/calls.yml has them.
    """

    settings: frozenset[str]
    calls: Mapping[str, Mapping[str, object]]
    options: Mapping[str, Mapping[str, object]]


@dataclasses.dataclass
class Judged:
    """What to say: ``refused`` ends the play."""

    refused: list[str] = dataclasses.field(default_factory=list)
    warned: list[str] = dataclasses.field(default_factory=list)


class ActionModule(ActionBase):
    """``backup_call: {playbook: restore}``"""

    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        del tmp
        hosts = {name: _variables(task_vars, name) for name in task_vars["ansible_play_hosts_all"]}
        options = context.CLIARGS.get("extra_vars") or ()
        extra = {str(name): value for name, value in load_extra_vars(DataLoader()).items()}
        judged = judge(
            self._task.args["playbook"], [str(one) for one in options], extra, hosts, known()
        )
        display = Display()
        if old := old_ansible(__version__):
            display.warning(old)
        for warning in judged.warned:
            display.warning(warning)
        if judged.refused:
            end = "Nothing was touched."
            return {**result, "failed": True, "msg": " ".join([*judged.refused, end])}
        return {**result, "changed": False}


def old_ansible(version: str) -> str:
    """What to say of an Ansible that is older than those that this is tried with; empty of others.
    It is no reason to refuse a restore.
    """
    numbers = tuple(int(one) for one in re.findall(r"[0-9]+", version)[:2])
    if numbers >= OLDEST:
        return ""
    oldest = ".".join(map(str, OLDEST))
    return (
        f"This is Ansible {version}; {oldest} is the oldest that is tried. If something fails in a"
        " strange way: sh bootstrap.sh installs the right one into the checkout"
    )


def _variables(task_vars: Mapping, host: str) -> Mapping[str, object]:
    """A host's variables as they are written, nothing of them worked out."""
    return task_vars["hostvars"].raw_get(host)


@functools.cache
def known() -> Known:
    """From the roles' argument_specs and defaults, and the list of the calls."""
    options: dict[str, Mapping[str, object]] = {}
    for path in ROOT.glob("roles/*/meta/argument_specs.yml"):
        for entry in _load(path)["argument_specs"].values():
            options |= entry.get("options") or {}
    settings = {"backup_hosts", *options}
    for path in ROOT.glob("roles/*/defaults/main.yml"):
        settings |= (_load(path) or {}).keys()
    calls = _load(ROOT / "playbooks/vars/calls.yml")
    return Known(frozenset(settings - calls.keys()), calls, options)


def _load(path: Path) -> dict:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(path.read_text(encoding="utf-8"), Loader=loader)


def judge(
    call: str,
    options: Sequence[str],
    extra: Mapping[str, object],
    hosts: Mapping[str, Mapping[str, object]],
    names: Known,
) -> Judged:
    """What is wrong with a call.

    :param call: the playbook, without its ending.
    :param options: what was given with each ``-e``, as it was typed.
    :param extra: what Ansible has made of it.
    :param hosts: the variables of each host of the play.
    """
    judged = Judged()
    for option in options:
        if left := left_over(option):
            judged.refused.append(left)
    if judged.refused:  # what is left over belongs to one of the others
        return judged
    for name, value in extra.items():
        _judge_given(call, name, value, hosts, names, judged)
        if wrong := wrong_setting(name, value, names):
            judged.refused.append(f"{wrong} (-e).")
    wrongs: dict[str, list[str]] = {}
    for host, variables in hosts.items():
        for name in variables.keys() & names.options.keys() - extra.keys():
            if wrong := wrong_setting(name, variables[name], names):
                wrongs.setdefault(wrong, []).append(host)
    for wrong, where in sorted(wrongs.items()):
        judged.refused.append(f"{wrong} ({_place(where)}).")
    found: dict[str, list[str]] = {}
    for host, variables in hosts.items():
        for name in variables:
            if name not in extra:
                found.setdefault(str(name), []).append(host)
    for name, where in found.items():
        _judge_written(name, where, names, judged)
    return judged


def left_over(option: str) -> str:
    """What Ansible would pass over of one ``-e``, and how it is to be typed; empty where nothing
    is.
    """
    text = option.strip()
    if not text or text[0] in "@[{/.":
        return ""
    given = parse_kv(text)
    left = str(given.get("_raw_params") or "").strip()
    if not left:
        return ""
    said = f'Of -e "{text}" this is left over: {left}.'
    names = [name for name in given if name != "_raw_params"]
    if re.search(r"(^|\s)=|=\s", text):
        typed = re.sub(r"\s*=\s*", "=", text)
        return f"{said} There may be no blank around =: -e {typed}"
    if names and re.search(r",\s", text):
        typed = re.sub(r",\s+", ",", text)
        return f"{said} There may be no blank after a comma: -e {typed}"
    if names:
        name = names[-1]
        value = f"{given[name]} {left}"
        return f"{said} What has a blank goes in two pairs of quotes: -e \"{name}='{value}'\""
    return f"{said} It has no name: -e NAME={left}"


def _judge_given(
    call: str,
    name: str,
    value: object,
    hosts: Mapping[str, Mapping[str, object]],
    names: Known,
    judged: Judged,
) -> None:
    """One variable that was given with the call."""
    if name in names.settings or name.startswith("ansible_"):
        return
    if spec := names.calls.get(name):
        takes = [str(one) for one in spec["playbooks"]]
        if call not in takes:
            others = _listed(f"{one}.yml" for one in takes)
            if near := nearest(name, _of(call, names), letters=2):
                told = f"There is no variable {name} (-e) for {call}.yml: did you mean {near}?"
                judged.refused.append(told)
            elif spec.get("narrows"):  # without it more would be done than was meant
                told = (
                    f"{call}.yml does not take {name}, it would be passed over: it is for {others}."
                )
                judged.refused.append(told)
            else:
                judged.warned.append(f"{call}.yml passes {name} over (-e): it is for {others}")
        elif wrong := _wrong_value(name, value, str(spec["type"]), _choices(spec, call)):
            judged.refused.append(wrong)
        return
    # it is refused anyway
    near = nearest(name, [*_of(call, names), *names.calls, *names.settings], letters=2)
    if near:
        judged.refused.append(f"There is no variable {name} (-e): did you mean {near}?")
    elif name.startswith(OURS):
        judged.warned.append(_not_ours(name, "-e"))
    elif not _is_used(name, hosts):
        takes = _of(call, names)
        says = f"takes {_listed(takes)}" if takes else "takes none"
        judged.refused.append(f"There is no variable {name} (-e): {call}.yml {says}, and settings.")


def _judge_written(name: str, where: Sequence[str], names: Known, judged: Judged) -> None:
    """One variable of the inventory or of group_vars."""
    if name in names.settings or name in names.calls or name in INTERNAL:
        return
    if name.startswith("ansible_"):
        return
    place = _place(where)
    if near := nearest(name, [*names.settings, *names.calls]):
        judged.refused.append(f"There is no setting {name} ({place}): did you mean {near}?")
    elif name.startswith(OURS):
        judged.warned.append(_not_ours(name, place))


def _place(where: Sequence[str]) -> str:
    return f"in the inventory or group_vars of {_listed(where[:3])}"


def wrong_setting(name: str, value: object, names: Known) -> str:
    """Why a setting's value is none of its kind; empty where it is, and where it is still to be
    worked out. Ansible would say so with all that the role can be given around it.
    """
    spec = names.options.get(name) or {}
    kind, choices, text = spec.get("type"), spec.get("choices"), str(value).strip()
    if not isinstance(value, (str, int, float)) or not text or "{{" in text or "{%" in text:
        return ""
    if kind == "list" and name.startswith(OURS) and name not in _TAKEN_AS_TEXT:
        return f"{name} is a list: [{'...' if spec.get('no_log') else _cut(text)}]"
    said = f"(here: {_cut(text)})"
    if isinstance(choices, list) and text not in map(str, choices):
        return f"{name} is one of {', '.join(map(str, choices))} {said}"
    if kind == "bool" and text.lower() not in TRUE | FALSE:
        return f"{name} is true or false {said}"
    number = "" if isinstance(value, bool) else text
    if kind == "int" and not re.fullmatch(r"[+-]?[0-9]+(\.0*)?", number):
        return f"{name} is a whole number, in digits {said}"
    digits = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?"
    if kind == "float" and not re.fullmatch(digits, number):
        return f"{name} is a number, with a point {said}"
    return ""


def _cut(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}..."


def _not_ours(name: str, place: str) -> str:
    return f"{name} ({place}) is none of our settings, and is passed over by all of them"


def _choices(spec: Mapping[str, object], call: str) -> object:
    """What one of ``-e`` may be in this playbook, as they are one list or one for each."""
    choices = spec.get("choices")
    return choices.get(call) if isinstance(choices, dict) else choices


def _wrong_value(name: str, value: object, kind: str, choices: object = None) -> str:
    """Why a value is none of its kind; empty where it is."""
    if value is None or value == "" or value == []:
        return f"{name} is empty (-e {name}=): give it a value, or leave it out."
    if isinstance(choices, list):
        words = {str(one) for one in choices}
        words |= TRUE if "true" in words else set()
        words |= FALSE if "false" in words else set()
        if str(value).lower() not in words:
            return f"{name} is one of {', '.join(map(str, choices))} (here: {value})."
    if kind == "bool" and str(value).lower() not in TRUE | FALSE:
        return f"{name} is true or false (here: {value})."
    if kind == "str" and isinstance(value, (list, dict)):
        return f"{name} is one word (here: {value})."
    if kind == "list":
        parts = value if isinstance(value, list) else str(value).split(",")
        if any(not str(part).strip() for part in parts):
            return f"{name} has an empty name in it (here: {value})."
    return ""


def _of(call: str, names: Known) -> list[str]:
    return [name for name, spec in names.calls.items() if call in spec["playbooks"]]


def _listed(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


def _is_used(name: str, hosts: Mapping[str, Mapping[str, object]]) -> bool:
    """Whether the user's own variables refer to it."""
    word = re.compile(rf"\{{[{{%].*\b{re.escape(name)}\b", re.DOTALL)
    return any(word.search(repr(value)) for host in hosts.values() for value in host.values())


def nearest(name: str, words: Iterable[str], letters: int = LETTERS_A_SLIP) -> str:
    """The known name that this one is a slip of; empty where it is none.

    :param letters: of the shorter one for each that may be wrong: "test" is no slip of "latest".
    """
    typed = name.lower().replace("-", "_")
    best, least = "", SLIP + 1
    for word in words:
        allowed = min(SLIP, max(min(len(word), len(typed)) // letters, 1))
        slips = distance(typed, word, allowed)
        if slips < min(least, allowed + 1):
            best, least = word, slips
    return best


def distance(one: str, other: str, most: int) -> int:
    """How many letters were left out, put in, taken for another or swapped with their neighbour;
    ``most + 1`` where they are more.
    """
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    last = list(range(len(other) + 1))
    for row, letter in enumerate(one, 1):
        now = [row]
        for column, theirs in enumerate(other, 1):
            least = min(last[column] + 1, now[-1] + 1, last[column - 1] + (letter != theirs))
            if row > 1 and column > 1 and letter == other[column - 2] and theirs == one[row - 2]:
                least = min(least, before[column - 2] + 1)
            now.append(least)
        if min(now) > most:
            return most + 1
        before, last = last, now
    return min(last[-1], most + 1)
