import os
import shlex
import subprocess
from datetime import timedelta

import pytest
from botocore.utils import (
    is_valid_endpoint_url,
    is_valid_ipv6_endpoint_url,
    validate_region_name,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from postgres_backup.backup.prune import require_retention
from postgres_backup.clock import utc_now
from postgres_backup.errors import UsageError
from postgres_backup.machine import config_file
from postgres_backup.settings import variables
from tests.properties import examples

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


@pytest.mark.parametrize(
    "line", ["DB_PORT = 5432", "DB_PORT =5432", "DB_PORT= 5432", "export DB_PORT = '5 432'"]
)
def test_a_blank_beside_the_sign_is_said_as_such_and_no_value_is_shown(line):
    with pytest.raises(UsageError) as caught:
        config_file.parse(f"A=1\n{line}\n", "x.env")
    assert caught.value.message == "Line 2 of x.env has a blank beside the = of DB_PORT"
    assert caught.value.hint == "Write it without: DB_PORT=value"
    assert config_file.parse("A=' = x'\nB=' x'\n") == {"A": " = x", "B": " x"}


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
        ("DB_PORT", "9" * 5000, "not a whole number"),
        ("DB_PORT", "\u0665", "not a whole number"),
        ("DB_PORT", "-1", "5432"),
        ("DB_HOST", "a b", "such as localhost"),
        ("DB_HOST", "x" * 64, "such as localhost"),
        ("DB_HOST", "a..b", "such as localhost"),
        ("S3_PREFIX", "\u00e9" * 401, "at most 800 bytes"),
        ("S3_ENDPOINT_URL", "https://user@s3.example.org", "https://"),
        ("S3_ENDPOINT_URL", "https://s3.example.org:99999", "a port is between"),
        ("S3_ENDPOINT_URL", "https://s3.example.org:0", "a port is between"),
        ("S3_ENDPOINT_URL", "https://s3.example.org:x", "a port is between"),
        ("S3_ENDPOINT_URL", "https://[::1", "https://"),
        ("S3_ENDPOINT_URL", "https://a_b", "https://"),
        ("S3_ENDPOINT_URL", "https://", "https://"),
        ("S3_ENDPOINT_URL", "https://a?b", "https://"),
        ("S3_REGION", "eu west", "us-east-1"),
        ("S3_REGION", "eu_west", "us-east-1"),
        ("FRESH_HOURS", "99999999999", "26 is the default"),
        ("SIZE_JUMP_PERCENT", "9" * 15, "200 is the default"),
        ("PRICE_GB_MONTH", "9" * 400, "with a point"),
        ("PRICE_GB_MONTH", "9" * 15, "Such as 0.02"),
        ("SERVER_NAME", "a\nb", "in one line"),
        ("DB_PASSWORD", "a\0b", "in one line"),
        ("DB_NAMES", "a\0b", "in one line"),
        ("AWS_SECRET_ACCESS_KEY", "a\nb", "in one line"),
        ("STATE_DIR", "/a\x7f", "in one line"),
        ("SCHEDULE_TIME", "24:00", "time of day"),
        ("SCHEDULE_TIME", "7", "HH:MM"),
        ("SCHEDULE_TIME", "7:00", "two digits each, such as 07:00"),
        ("S3_BUCKET_NAME", "s3://x", "without s3://"),
        ("BACKUP_FORMAT", "tar", "plain, custom"),
        ("BACKUP_COMPRESSION", "bzip2", "gzip, zstd"),
        ("S3_MAX_PARTS", "0", "10000"),
        ("RESTORE_IN_PLACE", "perhaps", "neither true nor false"),
    ],
)
def test_a_value_that_makes_no_sense_is_explained(name, value, says):
    with pytest.raises(UsageError) as caught:
        config_file.from_values(GIVEN | {name: value})
    assert name in str(caught.value)
    assert says.lower() in str(caught.value).lower()
    assert len(str(caught.value)) < 500, "a value that is too long is cut"
    assert caught.value.hint, "and what to write is said"


@pytest.mark.parametrize("name", ["RETENTION_DAYS", "KEEP_WEEKLY", "KEEP_REPLACED_DAYS"])
@pytest.mark.parametrize("value", ["-1", "99999999999", "9" * 5000, "many", "7.5", "7\n8"])
def test_a_wrong_retention_is_known_and_stops_nothing_but_what_deletes(name, value):
    found = config_file.from_values(GIVEN | {name: value, "KEEP_MONTHLY": "x"})
    assert name in found.retention_fault
    assert (found.retention_days, found.keep_weekly, found.keep_replaced_days) == (7, 0, 7)
    with pytest.raises(UsageError, match=name) as caught:
        require_retention(found)
    assert [one["code"] for one in caught.value.findings] == ["RETENTION_WRONG"]
    assert config_file.from_values(GIVEN | {name: "3"}).retention_fault == ""


def test_a_retention_of_0_days_would_keep_nothing():
    assert (
        "keep nothing" in config_file.from_values(GIVEN | {"RETENTION_DAYS": "0"}).retention_fault
    )


def test_a_line_break_may_stand_in_the_name_of_a_database_and_in_a_password():
    found = config_file.from_values(GIVEN | {"DB_NAME": "a\nb", "DB_PASSWORD": "a\nb"})
    assert (found.databases, found.db_password) == (("a\nb",), "a\nb")


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


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\xef\xbb\xbf# Settings\nA=1\n", "byte order mark"),
        ("A=1\nDB_NAME=caf\u00e9\n".encode("latin-1"), "Line 2 .* not UTF-8 .DB_NAME."),
        ("A=1\n".encode("utf-16"), "Line 1 .* not UTF-8"),
        (b"A=1\nexport B='x\nC=2\n", "line 2 .* .B. is never closed"),
        (b"A='" + b"x\n" * 20_000, "line 1 .* .A. is never closed"),
        (b"A=" + b"x" * (1 << 20), "longer than"),
        (bytes(4096), "Line 1"),
        (b"\x1f\x8b\x08", "not UTF-8"),
    ],
)
def test_a_file_that_is_no_config_is_told_with_its_line(tmp_path, data, says):
    file = tmp_path / "x.env"
    file.write_bytes(data)
    file.chmod(0o600)
    with pytest.raises(UsageError, match=says) as caught:
        config_file.load(str(file))
    assert caught.value.hint


@pytest.mark.parametrize("name", ["", ".", "x" * 300, "a\0b", "pipe", "x.env/y", "/dev/full"])
def test_what_is_no_file_is_no_config(tmp_path, name):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "x.env").touch()
    with pytest.raises(UsageError):
        config_file.load(str(tmp_path / name))


_VALUES = st.one_of(
    st.text(max_size=30),
    st.integers().map(str),
    st.integers(min_value=-(10**12), max_value=10**12).map(str),
    st.floats().map(str),
    st.sampled_from(
        ["'", '"', "\\", "9" * 5000, "0", "true", "crm", "a b", "'a b", "\ufeff", "\0"]
    ),
    st.builds("https://{}:{}/{}".format, st.text(max_size=8), st.integers(), st.text(max_size=4)),
)
_NAMES = st.sampled_from([variable.name for variable, _ in variables().values()] + ["DB_NAMES"])


@settings(max_examples=examples(300))
@given(st.lists(st.tuples(_NAMES, _VALUES, st.booleans()), max_size=4), st.text(max_size=20))
def test_any_text_gives_settings_or_says_what_is_wrong(changes, noise):
    quoted = [
        f"{name}={shlex.quote(value) if quote else value}\n" for name, value, quote in changes
    ]
    lines = [f"{name}={value}\n" for name, value in GIVEN.items()]
    try:
        found = config_file.from_values(config_file.parse("".join([*lines, *quoted, noise])))
    except UsageError:
        return
    assert is_valid_endpoint_url(found.s3_endpoint_url) or is_valid_ipv6_endpoint_url(
        found.s3_endpoint_url
    )
    validate_region_name(found.s3_region)
    assert utc_now() - timedelta(days=found.retention_days)
    assert utc_now() - timedelta(hours=found.fresh_hours)


@settings(max_examples=examples(200))
@given(st.one_of(_VALUES, st.from_regex(r"https?://[a-z\[\]:.0-9@-]{1,20}(/[a-z]*)?")))
def test_an_address_that_is_accepted_is_one_for_the_client_too(address):
    try:
        config_file.from_values(GIVEN | {"S3_ENDPOINT_URL": address or "x"})
    except UsageError:
        return
    assert is_valid_endpoint_url(address) or is_valid_ipv6_endpoint_url(address)


def test_a_password_in_an_address_that_is_refused_is_not_shown():
    with pytest.raises(UsageError) as caught:
        config_file.from_values(GIVEN | {"S3_ENDPOINT_URL": "https://me:hidden@s3.example.org"})
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "host", ["localhost", "10.0.0.5", "::1", "/var/run/postgresql", "/with blank", "a,b", "d\u00e9"]
)
def test_hosts_that_are_some(host):
    assert config_file.from_values(GIVEN | {"DB_HOST": host}).db_host == host


def test_no_config_says_what_to_run(tmp_path):
    with pytest.raises(UsageError, match=r"setup\.yml"):
        config_file.load(str(tmp_path / "none.env"))
