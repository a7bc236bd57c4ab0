"""The modules that find older scripts and let them go, on a machine that has none: what they would
touch is a whole machine's, so the rest is in tests/unit/moving and tests/servers/test_moving.py.
"""

from __future__ import annotations

from tests.unit.moving.old_scripts import CONFIG

FIND, SWITCH = "postgres_backup_scripts", "postgres_backup_switch"


def test_settings_are_read_and_a_config_that_is_none_of_ours_is_seen(
    run_module, says_what_it_returns, tmp_path
):
    config = tmp_path / "backup-config.env"
    config.write_text(CONFIG)
    answer = run_module(FIND, config_place=str(config), import_file=str(config))
    says_what_it_returns(FIND, answer)
    assert answer["foreign_config"]
    assert answer["settings"]["backup_s3_bucket"] == "school-backups"
    assert answer["not_ours"] == ["NOTIFY_CHANNEL"]
    assert not answer["changed"]


def test_a_file_that_is_not_there_is_refused(run_module, tmp_path):
    answer = run_module(FIND, config_place=str(tmp_path / "x"), import_file=str(tmp_path / "y"))
    assert (answer["failed"], answer["exit_status"]) == (True, 2)
    assert "no such file" in answer["msg"]


def test_where_nothing_runs_there_is_nothing_to_switch(run_module, says_what_it_returns, tmp_path):
    places = {
        "config_place": str(tmp_path / "config"),
        "log": str(tmp_path / "log"),
        "record": str(tmp_path / "record.json"),
    }
    answer = run_module(SWITCH, databases=["crm of nobody"], **places)
    says_what_it_returns(SWITCH, answer)
    assert (answer["changed"], answer["schedules"]) == (False, [])
    back = run_module(SWITCH, state="undone", **places)
    assert (back["failed"], back["exit_status"]) == (True, 2)
    assert "nothing to undo" in back["msg"]


def test_config_and_keys_that_were_made_beside_take_their_place(
    run_module, says_what_it_returns, tmp_path
):
    staged, config = tmp_path / "staged", tmp_path / "etc/backup-config.env"
    for folder in (staged, config.parent):
        folder.mkdir()
    config.write_text(CONFIG)
    (staged / config.name).write_text("ours\n")
    options = {
        "config_place": str(config),
        "staged": str(staged),
        "log": str(tmp_path / "log"),
        "record": str(tmp_path / "record.json"),
        "files": [{"path": str(tmp_path / "cron"), "mode": "0644", "content": "* * * * * x\n"}],
    }
    said = run_module(SWITCH, check=True, **options)
    assert (said["changed"], config.read_text()) == (True, CONFIG)
    done = run_module(SWITCH, **options)
    says_what_it_returns(SWITCH, done)
    assert (done["aside"], config.read_text()) == ([str(config)], "ours\n")
    back = run_module(SWITCH, state="undone", **options)
    assert (back["changed"], config.read_text()) == (True, CONFIG)
    assert not (tmp_path / "cron").exists()
