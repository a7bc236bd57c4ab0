"""Modules as Ansible calls them: arguments in, one JSON object out; and their documentation as
ansible-doc reads it.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

ROOT = Path(__file__).resolve().parents[2]
#: keys that a module may return beyond its documentation: what every module of Ansible has
COMMON = {"changed", "failed", "invocation", "diff", "warnings", "deprecations"}


@pytest.fixture(scope="session")
def documentation() -> dict[str, dict]:
    """Module -> ``doc``, ``examples`` and ``return``, fragments merged, as ansible-doc says it."""
    names = sorted(path.stem for path in (ROOT / "library").glob("*.py"))
    program = Path(sys.executable).with_name("ansible-doc")
    environment = os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    return json.loads(
        subprocess.run(
            [program, "-j", "-t", "module", *names],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
    )


@pytest.fixture
def run_module(capsys: pytest.CaptureFixture) -> Callable[..., dict]:
    """``run_module("postgres_backup_info", config=..., check=False)``: what the module answers."""

    def run(name: str, check: bool = False, **arguments: object) -> dict:
        module = importlib.import_module(name)
        given = {
            key: str(value) if isinstance(value, Path) else value
            for key, value in arguments.items()
        }
        capsys.readouterr()
        with patch_module_args(given | {"_ansible_check_mode": check}), pytest.raises(SystemExit):
            module.run(module.ARGUMENT_SPEC, module.perform)
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def says_what_it_returns(documentation) -> Callable[..., None]:
    """``says_what_it_returns("postgres_backup_info", answer, check=False)``: no key is
    undocumented, and none is missing.
    """

    def compare(name: str, answer: dict, check: bool = False) -> None:
        documented = documentation[name]["return"]
        assert set(answer) - COMMON <= set(documented)
        conditions = (
            {"success"} if check else {"success", "when not in check mode"}
        )  # other conditions are tried by the module's own tests
        always = {key for key, about in documented.items() if about["returned"] in conditions}
        assert always <= set(answer)

    return compare


@pytest.fixture
def filled(database):
    """``database`` with a table of 1,000 rows."""
    database.execute(
        "CREATE TABLE users AS SELECT n AS id, 'user ' || n AS name FROM generate_series(1, 1000) n"
    )
    database.execute(f'ALTER TABLE users OWNER TO "{database.owner}"')
    return database
