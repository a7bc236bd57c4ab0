"""One job: which database is meant, and its store, made once."""

import dataclasses

import pytest

from postgres_backup.errors import UsageError
from postgres_backup.job import Job
from postgres_backup.settings import Settings

SETTINGS = Settings(
    server_name="db1",
    databases=("crm",),
    db_user="crm",
    s3_endpoint_url="https://s3.example",
    s3_bucket="backups",
    s3_access_key="key",
    s3_secret_key="secret",
)


def test_the_only_database_need_not_be_named():
    assert Job(SETTINGS).database == Job(SETTINGS, "crm").database == "crm"


@pytest.mark.parametrize(("databases", "wanted"), [(("crm",), "cms"), (("crm", "shop"), "")])
def test_a_database_that_is_not_told_or_not_ours_is_refused(databases, wanted):
    several = dataclasses.replace(SETTINGS, databases=databases)
    with pytest.raises(UsageError):
        _ = Job(several, wanted).database
    with pytest.raises(UsageError):  # before the store is asked
        Job(several, wanted).require()


def test_the_store_is_made_once():
    job = Job(SETTINGS)
    assert job.store is job.store
    assert job.store.settings is SETTINGS
