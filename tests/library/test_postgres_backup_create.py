"""Take a backup through its module."""

from __future__ import annotations

NAME = "postgres_backup_create"


def keys(s3_client, bucket):
    return {item["Key"] for item in s3_client.list_objects_v2(Bucket=bucket).get("Contents", [])}


def test_a_backup_is_in_the_bucket_and_the_answer_describes_it(
    run_module, says_what_it_returns, config, filled, s3_client, bucket
):
    answer = run_module(NAME, config=config.path)
    says_what_it_returns(NAME, answer)
    assert answer["changed"]
    assert answer["database"] == filled.name
    assert answer["rows"] == 1000
    assert answer["key"] == f"postgres-backup/{answer['backup']}"
    assert (
        s3_client.head_object(Bucket=bucket, Key=answer["key"])["ContentLength"] == answer["bytes"]
    )


def test_check_mode_names_it_and_leaves_the_bucket_alone(
    run_module, says_what_it_returns, config, filled, s3_client, bucket
):
    answer = run_module(NAME, check=True, config=config.path)
    says_what_it_returns(NAME, answer, check=True)
    assert answer["changed"]
    assert answer["backup"].startswith("postgres-backup-")
    assert keys(s3_client, bucket) == set()


def test_tables_may_come_as_one_string_and_go_into_partial(
    run_module, config, filled, s3_client, bucket
):
    filled.execute(f'CREATE TABLE orders (id int); ALTER TABLE orders OWNER TO "{filled.owner}"')
    answer = run_module(NAME, config=config.path, tables="users,public.orders")
    assert answer["key"].startswith("postgres-backup/partial/")
    assert answer["rows"] == 1000
    whole = {key for key in keys(s3_client, bucket) if key.count("/") == 1}
    assert whole == set()


def test_a_failure_is_a_sentence_with_what_to_do(run_module, config, filled):
    config.change(DB_PASSWORD="wrong")
    answer = run_module(NAME, config=config.path)
    assert answer["failed"]
    assert answer["exit_status"] == 1
    assert "backup_db_password" in answer["msg"]


def test_secrets_stay_out_of_answers(run_module, config, filled, s3):
    answer = run_module(NAME, config=config.path)
    config.change(S3_BUCKET_NAME="no-such-bucket-here")
    failure = run_module(NAME, config=config.path)
    assert failure["failed"]
    for secret in (filled.password, s3.secret_key):
        assert secret not in str(answer)
        assert secret not in str(failure)
