"""The ground the other tests stand on holds: fresh things each time, and nothing left behind."""

import pytest


@pytest.mark.every_major
def test_a_database_of_each_major(postgres, database):
    assert database.execute("SELECT current_setting('server_version_num')::int / 10000") == [
        (postgres.major,)
    ]
    assert database.execute("SELECT current_database()") == [(database.name,)]


def test_the_config_reads_back(config, database, bucket):
    assert config.settings.databases == (database.name,)
    assert config.change(RETENTION_DAYS=3).retention_days == 3
    assert config.settings.s3_bucket == bucket


def test_the_server_survives_a_power_cut(postgres, database):
    database.execute("CREATE TABLE t (x int)")
    port = postgres.port
    postgres.stop("immediate")
    postgres.start()
    assert postgres.port == port
    assert database.execute("SELECT count(*) FROM t") == [(0,)]
