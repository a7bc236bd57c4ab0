"""The module that lays several files at once."""

from __future__ import annotations

import os

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
