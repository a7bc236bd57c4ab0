"""What a module says of itself is what it takes."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path.stem for path in (ROOT / "library").glob("*.py"))

#: what a call must have beside the config, to get as far as that
REQUIRED = {
    "config_place": "/nowhere/config",
    "config_text": "",
    "log": "/nowhere/log",
    "record": "/nowhere/record",
    "backup": "latest",
    "page": "<p>",
    "servers": [],
    "template": "none.j2",
    "dest": "none.html",
    "folder": "none",
    "server_name": "db1",
    "files": [],
    "step": "prepare",
}


def takes_config(name: str) -> bool:
    """False for what runs on the controller."""
    return "config" in importlib.import_module(name).ARGUMENT_SPEC


def required(name: str, **config: Path) -> dict:
    spec = importlib.import_module(name).ARGUMENT_SPEC
    return {option: value for option, value in REQUIRED.items() if option in spec} | (
        config if takes_config(name) else {}
    )


def test_there_are_modules():
    assert len(MODULES) >= 9


@pytest.mark.parametrize("name", MODULES)
def test_the_documented_options_are_the_argument_spec(name, documentation):
    documented = documentation[name]["doc"]["options"]
    spec = importlib.import_module(name).ARGUMENT_SPEC
    assert set(documented) == set(spec)
    for option, takes in spec.items():
        says = documented[option]
        assert says["description"], option
        assert says["type"] == takes["type"], option
        assert says.get("elements") == takes.get("elements"), option
        assert says.get("default") == takes.get("default"), option
        assert says.get("choices") == takes.get("choices"), option
        assert says.get("required", False) == takes.get("required", False), option


@pytest.mark.parametrize("name", MODULES)
def test_check_mode_is_documented_and_the_examples_are_of_this_module(name, documentation):
    assert documentation[name]["doc"]["attributes"]["check_mode"]["support"] == "full"
    known = set(documentation[name]["doc"]["options"])
    uses = [
        task[name] or {} for task in yaml.safe_load(documentation[name]["examples"]) if name in task
    ]
    assert uses
    for options in uses:
        assert set(options) <= known


@pytest.mark.parametrize("name", MODULES)
def test_a_module_stays_thin(name):
    """It takes options and calls one use case; its documentation may be as long as it must."""
    text = (ROOT / "library" / f"{name}.py").read_text()
    code = re.sub(r'^[A-Z]+ = r""".*?^"""$', "", text, flags=re.MULTILINE | re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 50


@pytest.mark.parametrize("name", MODULES)
def test_a_module_says_its_result_to_a_person(name, documentation):
    says = documentation[name]["return"].get("lines", {})
    assert (says.get("type"), says.get("elements"), says.get("returned")) == (
        "list",
        "str",
        "success",
    )


@pytest.mark.parametrize("name", [name for name in MODULES if takes_config(name)])
def test_a_missing_config_is_a_sentence_with_the_exit_status_of_wrong_usage(
    name, run_module, tmp_path
):
    answer = run_module(name, **required(name, config=tmp_path / "none.env"))
    assert answer["failed"]
    assert answer["exit_status"] == 2
    assert answer["findings"] == []
    assert "There is no config" in answer["msg"]
    assert "setup.yml" in answer["msg"]


@pytest.mark.parametrize("name", MODULES)
def test_a_python_without_the_libraries_is_told_in_a_sentence(
    name, run_module, config, monkeypatch
):
    module = importlib.import_module(name)

    def without(_call):
        raise ModuleNotFoundError("No module named 'psycopg'", name="psycopg")

    monkeypatch.setattr(module, "perform", without)
    answer = run_module(name, **required(name, config=config.path))
    assert answer["failed"]
    assert "lacks psycopg" in answer["msg"]
    assert ("setup.yml" if takes_config(name) else "bootstrap.sh") in answer["msg"]


def test_a_mistake_of_the_program_is_a_sentence_without_secrets(run_module, config, monkeypatch):
    module = importlib.import_module("postgres_backup_info")

    def stumbles(call):
        raise KeyError(f"nobody expected {call.settings.db_password} here")

    monkeypatch.setattr(module, "perform", stumbles)
    answer = run_module("postgres_backup_info", config=config.path)
    assert answer["exit_status"] == 1
    assert "Failed unexpectedly: KeyError" in answer["msg"]
    assert "********" in answer["msg"]
    assert config.settings.db_password not in str(answer)


@pytest.mark.parametrize(
    ("option", "plugin"),
    [("progress_file", "postgres_backup_progress"), ("columns", "postgres_backup_columns")],
)
def test_what_an_action_plugin_is_to_give_only_such_modules_take(option, plugin):
    take = {name for name in MODULES if option in importlib.import_module(name).ARGUMENT_SPEC}
    plugins = (ROOT / "action_plugins").glob("*.py")
    given = {path.stem for path in plugins if f'get("{plugin}"' in path.read_text()}
    assert take == given
    assert take


def test_there_is_no_action_plugin_without_a_module():
    plugins = {path.stem for path in (ROOT / "action_plugins").glob("*.py")}
    assert plugins - set(MODULES) == {
        "postgres_backup_progress",
        "postgres_backup_columns",
        "postgres_backup_here",
    }
