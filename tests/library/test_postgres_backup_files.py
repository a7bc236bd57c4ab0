"""The module that lays several files at once."""

from __future__ import annotations

import importlib
import os

from ansible.module_utils.basic import AnsibleModule

MODULE = "postgres_backup_files"


def test_check_mode_then_written_then_nothing_to_do(run_module, says_what_it_returns, tmp_path):
    cron = tmp_path / "cron.d/crm"
    files = [
        {"path": str(cron.parent), "mode": "0755", "folder": True},
        {"path": str(cron), "mode": "0644", "content": "* * * * * true\n"},
    ]
    said = run_module(MODULE, check=True, files=files)
    assert (said["changed"], os.listdir(tmp_path)) == (True, [])
    done = run_module(MODULE, files=files)
    says_what_it_returns(MODULE, done)
    assert done["files"] == said["files"] == [str(cron.parent), str(cron)]
    assert done["diff"] == said["diff"]
    assert done["diff"][1]["after"] == cron.read_text() == "* * * * * true\n"
    again = run_module(MODULE, files=files)
    assert (again["changed"], again["diff"]) == (False, [])


def test_a_mode_that_yaml_made_a_number_is_refused(run_module, tmp_path):
    answer = run_module(MODULE, files=[{"path": str(tmp_path / "x"), "mode": 0o644}])
    assert answer["failed"]
    assert answer["exit_status"] == 2
    assert "'0644'" in answer["msg"]
    assert os.listdir(tmp_path) == []


def test_secrets_are_laid_and_neither_answered_nor_logged(run_module, tmp_path, monkeypatch):
    logged: list[str] = []
    monkeypatch.setattr(
        AnsibleModule, "log", lambda _, said, **more: logged.append(f"{said}{more}")
    )
    file = {"path": str(tmp_path / "config"), "mode": "0600"}
    for secret in ("PASSWORD=first\nA=b\n", "PASSWORD=second\nA=b\n"):
        done = run_module(MODULE, files=[file], secrets={file["path"]: secret})
        assert (tmp_path / "config").read_text() == secret
        assert (done["changed"], done["files"]) == (True, [file["path"]])
        assert logged
        assert "PASSWORD" not in str([done, logged])
        assert "not shown" in done["diff"][0]["after"]
    assert not run_module(MODULE, files=[file], secrets={file["path"]: secret})["changed"]
    monkeypatch.setenv("HOME", str(tmp_path))
    run_module(MODULE, files=[file | {"path": "~/x"}], secrets={"~/x": secret})
    assert (tmp_path / "x").read_text() == secret


def test_the_documented_options_of_a_file_are_those_that_it_takes(documentation):
    [files] = [documentation[MODULE]["doc"]["options"]["files"]]
    module = importlib.import_module(MODULE)
    # made of by the plugin that Ansible calls in its stead
    made = {"template", "secret_template", "source"}
    assert files["suboptions"].keys() == module.FILE.keys() | made
    assert module.ARGUMENT_SPEC["secrets"]["no_log"]
