"""The client: made by boto3, when it is needed, and told everything by the settings."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import botocore.utils
import pytest

import postgres_backup
from postgres_backup.s3 import client

#: what a laptop or a server may have lying about; each of them would change a client
ENVIRONMENT = {
    "AWS_PROFILE": "nobody",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
    "AWS_CA_BUNDLE": "/nonexistent",
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "nothing",
    "AWS_SESSION_TOKEN": "stale",
    "AWS_REGION": "mars",
    "AWS_DEFAULT_REGION": "mars",
    "AWS_REQUEST_CHECKSUM_CALCULATION": "when_supported",
    "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_supported",
    "AWS_RETRY_MODE": "nonsense",
    "AWS_MAX_ATTEMPTS": "x",
    "AWS_USE_DUALSTACK_ENDPOINT": "true",
    "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT": "nonsense",
    "REQUESTS_CA_BUNDLE": "/nonexistent",
}
PROGRAM = """
import gc, json, os, sys
from postgres_backup.s3.client import S3, anonymous
from postgres_backup.settings import Settings

loaded = {"before": "boto3" in sys.modules}
opened = []
sys.addaudithook(
    lambda event, arguments: opened.append(str(arguments[0])) if event == "open" else None
)
settings = Settings(
    "db1", ("crm",), "crm", "https://s3.example.org", "bucket", "key", "secret", s3_region="kz-1"
)
client = S3(settings).client
config, credentials = client.meta.config, client._request_signer._credentials
print(json.dumps(loaded | {
    "after": "boto3" in sys.modules,
    "client": type(client).__module__ + "." + type(client).__name__,
    "agent": config.user_agent.split("/")[0],
    "endpoint": client.meta.endpoint_url,
    "region": client.meta.region_name,
    "credentials": [credentials.access_key, credentials.secret_key, credentials.token],
    "retries": config.retries,
    "style": config.s3["addressing_style"],
    "checksums": [config.request_checksum_calculation, config.response_checksum_validation],
    "timeouts": [config.connect_timeout, config.read_timeout],
    "signature": config.signature_version,
    "link": client.generate_presigned_url("get_object", {"Bucket": "bucket", "Key": "one"}, 60),
    "unsigned": anonymous(settings).generate_presigned_url(
        "get_object", {"Bucket": "bucket", "Key": "one"}, 60
    ),
    "garbage is looked for": gc.isenabled(),
    "home": [path for path in opened if path.startswith(os.environ["HOME"])],
    "environment": {k: v for k, v in os.environ.items() if k.startswith(("AWS_", "BOTO"))},
}))
"""


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-29T23:36:18Z",
        "2026-11-29T23:36:18.5Z",
        "2026-11-29T23:36:18.040Z",
        "2026-11-29T23:36:18.123456789Z",
        "2024-02-29T00:00:00.000Z",
        "2026-11-29T23:36:18+05:00",
        "Sun, 29 Nov 2026 23:36:18 GMT",
        "1795995378",
        "\u0662026-11-29T23:36:18Z",
    ],
)
def test_a_time_in_an_answer_is_what_boto3_reads_there(text):
    assert client._moment(text) == botocore.utils.parse_timestamp(text)


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2026-02-30T00:00:00Z", "2026-11-29T25:00:00Z"],
)
def test_what_is_no_time_in_an_answer_is_refused_in_its_words(text):
    with pytest.raises(ValueError) as theirs:  # noqa: PT011  # of whatever kind
        botocore.utils.parse_timestamp(text)
    with pytest.raises(type(theirs.value)) as ours:
        client._moment(text)
    assert str(ours.value) == str(theirs.value)


def made(home: Path, environment: dict[str, str]) -> dict:
    """A client of a process of its own, as it sees itself."""
    path = os.pathsep.join([str(Path(postgres_backup.__file__).parents[1]), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        env={"PYTHONPATH": path, "HOME": str(home), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_first_client_hears_nothing_of_environment_and_home(tmp_path):
    """In a fresh process: boto3's session is made but once, and would keep what it has read."""
    (tmp_path / ".aws").mkdir()
    broken = "[default]\nregion = mars\naws_access_key_id = nobody\n[broken"
    for name in (".aws/config", ".aws/credentials", ".boto", "named"):
        (tmp_path / name).write_text(broken)
    more = {
        "AWS_CONFIG_FILE": str(tmp_path / "named"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "named"),
        "AWS_DATA_PATH": str(tmp_path),
        "BOTO_CONFIG": str(tmp_path / "named"),
    }
    seen = made(tmp_path, ENVIRONMENT | more)
    assert seen["endpoint"] == "https://s3.example.org"
    assert seen["region"] == "kz-1"
    assert seen["credentials"] == ["key", "secret", None]
    assert (seen["style"], seen["signature"]) == ("path", "s3v4")
    assert seen["checksums"] == ["when_required", "when_required"]
    assert seen["timeouts"] == [10, 60]
    assert seen["retries"] == {"mode": "standard", "total_max_attempts": 1}
    assert seen["link"].startswith("https://s3.example.org/bucket/one?X-Amz-Algorithm=AWS4-HMAC-")
    assert "X-Amz-Credential=key%2F" in seen["link"]
    assert seen["unsigned"] == "https://s3.example.org/bucket/one"
    assert seen["home"] == []
    assert seen["garbage is looked for"]
    assert seen["environment"] == {
        name: value
        for name, value in (ENVIRONMENT | more).items()
        if name.startswith(("AWS_", "BOTO"))
    }


def test_boto3_makes_the_client_and_is_loaded_for_it_only(tmp_path):
    seen = made(tmp_path, {})
    assert (seen["before"], seen["after"]) == (False, True)
    assert (seen["client"], seen["agent"]) == ("botocore.client.S3", "Boto3")
