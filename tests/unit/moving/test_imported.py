"""The old scripts' settings as variables of ours."""

from __future__ import annotations

import pytest

from postgres_backup.errors import UsageError
from postgres_backup.moving.imported import read_settings, time_of
from tests.unit.moving.old_scripts import CONFIG


def test_what_is_known_is_taken_over_and_the_rest_is_named(tmp_path):
    path = tmp_path / "backup-config.env"
    path.write_text(CONFIG)
    read = read_settings(str(path))
    assert read == {
        "settings": {
            "backup_db_host": "localhost",
            "backup_db_port": "5432",
            "backup_db_name": "crm",
            "backup_db_user": "crm",
            "backup_db_password": 'pa ss"{{ word }}',
            "backup_s3_endpoint_url": "https://s3.example.com",
            "backup_s3_region": "us-east-1",
            "backup_s3_bucket": "school-backups",
            "backup_s3_access_key": "key-of-the-store",
            "backup_s3_secret_key": "secret-of-the-store",
            "backup_retention_days": "7",
        },
        "not_ours": ["NOTIFY_CHANNEL"],
        "missing": [],
    }


@pytest.mark.parametrize("content", ["", "COLOUR=red\n", "\0"])
def test_a_file_without_settings_is_refused(tmp_path, content):
    path = tmp_path / "x.env"
    path.write_text(content)
    with pytest.raises(UsageError, match=str(path)):
        read_settings(str(path))
    with pytest.raises(UsageError, match="no such file"):
        read_settings(f"{path}.none")


def test_other_names_and_values_that_refer_to_each_other(tmp_path):
    path = tmp_path / "x.env"
    path.write_text('PGDATABASE=crm\nBUCKET="${COMPANY:-school}-backups"\nmkdir -p /x\n')
    read = read_settings(str(path))
    assert read["settings"] == {"backup_db_name": "crm", "backup_s3_bucket": "school-backups"}
    assert "backup_s3_secret_key" in read["missing"]


def test_the_time_is_of_the_script_that_has_these_settings(tmp_path):
    one = {"config": str(tmp_path / "x.env"), "at": "19:00"}
    other = {"config": "/opt/blog/backup-config.env", "at": "03:00"}
    (tmp_path / "link.env").symlink_to("x.env")
    for path in ("x.env", "link.env"):
        assert time_of([other, one], str(tmp_path / path)) == "19:00"
    assert time_of([other], str(tmp_path / "x.env")) == ""
    assert time_of([one | {"at": ""}, one | {"at": "04:15"}], one["config"]) == "04:15"
