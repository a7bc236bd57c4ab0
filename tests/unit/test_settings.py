"""A setting is one line: where it comes from, what it must be, what holds without it."""

import dataclasses

import pytest

from postgres_backup.errors import UsageError
from postgres_backup.settings import Settings, variables

GIVEN = {
    "server_name": "db1",
    "databases": ("crm",),
    "db_user": "crm",
    "s3_endpoint_url": "https://s3.example.org",
    "s3_bucket": "bucket",
    "s3_access_key": "key",
    "s3_secret_key": "secret",
}


def test_every_line_names_its_variable_and_a_kind_that_the_file_can_hold():
    found = variables()
    fields = [field.name for field in dataclasses.fields(Settings)]
    assert [*found, "retention_fault", "is_copy"] == fields, (
        "and what is wrong with some of them, and which store it is"
    )
    names = [variable.name for variable, _ in found.values()]
    assert len(set(names)) == len(names)
    kinds = {kind for _, kind in found.values()}
    assert kinds <= {str, int, float, bool, tuple[str, ...]}


def test_every_default_is_of_its_kind_and_keeps_its_rule():
    made = Settings(**GIVEN)
    for field, (_, kind) in variables().items():
        assert isinstance(getattr(made, field), getattr(kind, "__origin__", kind)), field


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("databases", ("crm", ""), "No database is named (in the config: DB_NAME)"),
        (
            "s3_endpoint_url",
            "s3.example.org",
            "The S3 endpoint 's3.example.org' is not an address (in the config: S3_ENDPOINT_URL)",
        ),
        (
            "s3_bucket",
            "s3://x",
            "The bucket name 's3://x' is not one that S3 allows (in the config: S3_BUCKET_NAME)",
        ),
        ("db_port", 0, "The port 0 is not between 1 and 65535 (in the config: DB_PORT)"),
        (
            "schedule_time",
            "24:00",
            "The schedule '24:00' is not a time of day (in the config: SCHEDULE_TIME)",
        ),
        ("format", "tar", "'tar' is none of plain, custom (in the config: BACKUP_FORMAT)"),
        ("compression", "xz", "'xz' is none of gzip, zstd (in the config: BACKUP_COMPRESSION)"),
        (
            "s3_addressing_style",
            "auto",
            "'auto' is none of path, virtual (in the config: S3_ADDRESSING_STYLE)",
        ),
        (
            "retention_days",
            0,
            "A retention of 0 days would keep nothing, or all (in the config: RETENTION_DAYS)",
        ),
        (
            "fresh_hours",
            0,
            "0 hours: every backup would be too old, or none ever (in the config: FRESH_HOURS)",
        ),
        (
            "size_drop_percent",
            100,
            "A drop by 100 percent cannot be (in the config: SIZE_DROP_PERCENT)",
        ),
        ("keep_weekly", -1, "-1 is below zero or above 36500 (in the config: KEEP_WEEKLY)"),
        ("price_gb_month", -0.5, "-0.5 is no price (in the config: PRICE_GB_MONTH)"),
        (
            "s3_max_parts",
            10_001,
            "10001 parts: S3 allows 1 to 10000 (in the config: S3_MAX_PARTS)",
        ),
    ],
)
def test_a_value_that_breaks_its_rule_is_told_with_its_variable(field, value, says):
    with pytest.raises(UsageError) as caught:
        Settings(**GIVEN | {field: value})
    assert caught.value.message == says


def test_secrets_are_blotted_out_where_they_stand_alone():
    made = Settings(**GIVEN | {"db_password": "postgres", "alert_urls": ("tgram://t/1",)})
    assert made.secrets == ("postgres", "secret", "tgram://t/1")
    assert made.hide("postgres@x postgres-backup secret tgram://t/1") == (
        "********@x postgres-backup ******** ********"
    )
