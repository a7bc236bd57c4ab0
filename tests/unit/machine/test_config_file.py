import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postgres_backup.errors import UsageError
from postgres_backup.machine import config_file

GIVEN = {
    "SERVER_NAME": "crm-1",
    "DB_NAME": "crm",
    "DB_USER": "crm",
    "S3_ENDPOINT_URL": "https://object.example",
    "S3_BUCKET_NAME": "backups",
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "not-a-real-secret",
}


def test_what_is_not_said_has_the_contracts_default():
    found = config_file.from_values(GIVEN)
    assert (found.db_host, found.db_port, found.s3_region, found.s3_prefix) == (
        "localhost",
        5432,
        "us-east-1",
        "postgres-backup",
    )
    assert (found.retention_days, found.keep_weekly, found.keep_monthly) == (7, 0, 0)
    assert (found.format, found.compression, found.schedule_time) == ("plain", "gzip", "00:00")
    assert found.databases == ("crm",)


@given(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=("Cs",))))
def test_any_quoted_value_reads_as_it_was(value):
    assert config_file.parse(f"A=1\nexport B={shlex.quote(value)}\nC=3\n") == {
        "A": "1",
        "B": value,
        "C": "3",
    }


@pytest.mark.parametrize(
    "value",
    [
        "plain",
        "two words",
        "it's",
        'a "b" c',
        "$HOME `id` \\",
        "# no comment",
        "two\nlines",
        "=",
        "ключ",
    ],
)
def test_a_shell_reads_the_same_file_the_same_way(value, tmp_path):
    file = tmp_path / "x.env"
    file.write_text(f"# a comment\nexport A={shlex.quote(value)} # another\n")
    shell = subprocess.run(
        ["sh", "-c", '. "$1"; printf %s "$A"', "sh", str(file)],
        capture_output=True,
        text=True,
        check=True,
        env={"LC_ALL": "C.UTF-8"},
    )
    assert config_file.parse(file.read_text()) == {"A": value} == {"A": shell.stdout}


@pytest.mark.parametrize(
    "assignment",
    [
        "A=abc#def",
        "A=#x",
        "A=a\\#b",
        "A='a'#b",
        "A=1 #it's",
        "A=a\\ b",
        'A="a\\"b\\$c\\\\d\\e"',
        'A="x\\\ny"',
        "A='a\\'",
        "A=''\"\"",
        "A=a\u2028b",
        "A=a\u00a0b",
        "A=~x",
    ],
)
def test_what_stands_there_unquoted_is_read_as_a_shell_does(assignment, tmp_path):
    file = tmp_path / "x.env"
    file.write_text(f"{assignment}\nB=2\n")
    shell = subprocess.run(
        ["sh", "-c", '. "$1"; printf "%s\\n%s" "$A" "$B"', "sh", str(file)],
        capture_output=True,
        text=True,
        check=True,
        env={"LC_ALL": "C.UTF-8"},
    )
    assert list(config_file.parse(file.read_text()).values()) == shell.stdout.split("\n")


@pytest.mark.parametrize("value", ["/srv/it's", '/srv/"two words', "/srv/x\\"])
def test_an_open_quote_in_a_list_of_paths_is_said_with_what_to_write(value):
    with pytest.raises(UsageError, match=r"BACKUP_PATHS in .* never closed") as caught:
        config_file.from_values(GIVEN | {"BACKUP_PATHS": value})
    assert caught.value.exit_status == 2
    assert "BACKUP_PATHS=\"/srv/crm/.env '/srv/two words'\"" in caught.value.hint
    assert config_file.from_values(GIVEN | {"BACKUP_PATHS": "/a '/b c'"}).paths == ("/a", "/b c")


@pytest.mark.parametrize("name", sorted(GIVEN))
def test_what_is_missing_is_named(name):
    with pytest.raises(UsageError, match=name):
        config_file.from_values({key: value for key, value in GIVEN.items() if key != name})


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("S3_ENDPOINT_URL", "object.example", "https://"),
        ("DB_PORT", "abc", "whole number"),
        ("DB_PORT", "70000", "65535"),
        ("RETENTION_DAYS", "0", "keep nothing"),
        ("SCHEDULE_TIME", "24:00", "time of day"),
        ("SCHEDULE_TIME", "7", "HH:MM"),
        ("S3_BUCKET_NAME", "s3://x", "without s3://"),
        ("BACKUP_FORMAT", "tar", "plain, custom"),
        ("BACKUP_COMPRESSION", "bzip2", "gzip, zstd"),
        ("S3_MAX_PARTS", "0", "10000"),
        ("RESTORE_IN_PLACE", "perhaps", "neither true nor false"),
        ("KEEP_WEEKLY", "-1", "below zero"),
    ],
)
def test_a_value_that_makes_no_sense_is_explained(name, value, says):
    with pytest.raises(UsageError) as caught:
        config_file.from_values(GIVEN | {name: value})
    assert name in str(caught.value)
    assert says in str(caught.value)


def test_secrets_do_not_show():
    found = config_file.from_values(
        GIVEN
        | {
            "DB_PASSWORD": "hidden-1",
            "PING_URL": "https://hidden-2.example",
            "ALERT_URLS": "tgram://hidden-3 mailto://hidden-4",
        }
    )
    assert "hidden" not in repr(found)
    assert "not-a-real-secret" not in repr(found)
    assert len(found.secrets) == 5


def test_several_databases_may_have_blanks_in_their_names():
    found = config_file.from_values(GIVEN | {"DB_NAMES": "crm 'my shop'"})
    assert found.databases == ("crm", "my shop")
    assert found.for_database("my shop") == "my shop"
    with pytest.raises(UsageError, match="Which database"):
        found.for_database("")
    with pytest.raises(UsageError, match="crm, my shop"):
        found.for_database("shop")


def test_a_quote_left_open_in_the_list_of_databases_is_explained():
    with pytest.raises(UsageError, match="DB_NAMES"):
        config_file.from_values(GIVEN | {"DB_NAMES": "crm 'my shop"})


def test_a_database_named_twice_is_one():
    assert config_file.from_values(GIVEN | {"DB_NAMES": "a b a"}).databases == ("a", "b")


@pytest.mark.parametrize(
    ("mode", "accepted"), [(0o600, True), (0o400, True), (0o640, False), (0o604, False)]
)
def test_a_config_that_others_may_read_is_refused(tmp_path, mode, accepted):
    file = tmp_path / "backup-config.env"
    file.write_text("".join(f"{key}={shlex.quote(value)}\n" for key, value in GIVEN.items()))
    file.chmod(mode)
    if accepted:
        assert config_file.load(str(file)).server_name == "crm-1"
    else:
        with pytest.raises(UsageError, match="chmod 0600"):
            config_file.load(str(file))


def write(path, given) -> str:
    path.write_text("".join(f"{key}={shlex.quote(value)}\n" for key, value in given.items()))
    path.chmod(0o600)
    return str(path)


def test_the_key_and_whom_to_trust_lie_beside_the_config_whatever_its_folder(tmp_path, monkeypatch):
    (tmp_path / "etc").mkdir()
    path = write(tmp_path / "etc/x.env", GIVEN | {"SIGNING_KEY_FILE": ""})
    monkeypatch.chdir(tmp_path)
    for name in (path, "etc/x.env"):
        found = config_file.load(name)
        assert found.signing_key_file == f"{tmp_path}/etc/signing.key"
        assert found.trusted_signers_file == f"{tmp_path}/etc/trusted_signers"


def test_the_config_names_other_files_for_them(tmp_path):
    named = {"SIGNING_KEY_FILE": "/srv/key", "TRUSTED_SIGNERS_FILE": "/srv/trusted"}
    found = config_file.load(write(tmp_path / "x.env", GIVEN | named))
    assert (found.signing_key_file, found.trusted_signers_file) == ("/srv/key", "/srv/trusted")
    with pytest.raises(UsageError, match="SIGNING_KEY_FILE"):
        config_file.from_values(GIVEN | {"SIGNING_KEY_FILE": "key"})


def test_settings_of_no_file_name_none_for_them():
    found = config_file.from_values(GIVEN)
    assert (found.signing_key_file, found.trusted_signers_file) == ("", "")


@pytest.mark.parametrize("text", ["A", "A B=1", "A=1 B=2", "A='1", "1A=2"])
def test_a_line_that_is_no_assignment_is_named(text):
    with pytest.raises(UsageError):
        config_file.parse(text)


def test_no_config_says_what_to_run(tmp_path):
    with pytest.raises(UsageError, match=r"setup\.yml"):
        config_file.load(str(tmp_path / "none.env"))
