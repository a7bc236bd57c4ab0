"""The store against real S3 servers, friendly and awkward, and against a network that fails.

What was stored is looked at with another client (plain boto3); what the store must refuse, it is
asked for.
"""

import contextlib
import dataclasses
import datetime
import hashlib
import http.server
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time

import boto3
import botocore.auth
import botocore.exceptions
import pytest
from botocore.config import Config

from demo.s3_server import SeaweedFS
from postgres_backup.errors import BadBackupError, PostgresBackupError, StoreError, UsageError
from postgres_backup.s3 import bucket as bucket_room
from postgres_backup.s3 import client as s3_room
from postgres_backup.s3 import download as download_room
from postgres_backup.s3 import errors
from postgres_backup.s3.store import Refused, Store
from postgres_backup.settings import Settings
from tests.conftest import missing
from tests.services import awkward
from tests.services.proxy import FaultProxy

MIB = 1024 * 1024
PART = 8 * MIB
BLOCK = os.urandom(MIB)


@dataclasses.dataclass(frozen=True)
class Place:
    """An S3 server with a fresh bucket."""

    endpoint_url: str
    access_key: str
    secret_key: str
    ca_bundle: str
    bucket: str

    def settings(self, **changes) -> Settings:
        known = {
            "server_name": "test",
            "databases": ("crm",),
            "db_user": "crm",
            "s3_endpoint_url": self.endpoint_url,
            "s3_bucket": self.bucket,
            "s3_access_key": self.access_key,
            "s3_secret_key": self.secret_key,
            "s3_ca_bundle": self.ca_bundle,
        }
        return Settings(**(known | changes))

    def store(self, patience: float = 30, **changes) -> Store:
        return Store(self.settings(**changes), patience)

    def client(self, **options):
        """boto3 as somebody else would use it; ``careless=True`` with its defaults."""
        config = {"s3": {"addressing_style": "path"}}
        if not options.pop("careless", False):
            config |= {
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
            }
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            verify=self.ca_bundle or None,
            config=Config(**config),
        )

    def content(self, key: str) -> bytes:
        return self.client().get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def keys(self) -> list[str]:
        return [
            entry["Key"]
            for entry in self.client().list_objects_v2(Bucket=self.bucket).get("Contents", [])
        ]

    def unfinished(self) -> list[str]:
        return [
            entry["Key"]
            for entry in self.client().list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])
        ]


def place_at(server: SeaweedFS, bucket: str) -> Place:
    return Place(
        server.endpoint_url, server.access_key, server.secret_key, server.ca_bundle, bucket
    )


@pytest.fixture
def place(s3, new_bucket):
    """SeaweedFS over HTTP."""
    return place_at(s3, new_bucket(s3))


@pytest.fixture
def proxy(s3):
    """What stands between the store and ``place`` in the tests of faults."""
    with FaultProxy(s3.endpoint_url) as proxy:
        yield proxy


@pytest.fixture
def behind(place, proxy):
    """``place``, seen through ``proxy``."""
    return dataclasses.replace(place, endpoint_url=proxy.endpoint_url)


def _awkward(name, tmp_path_factory):
    program = {"juicefs": "juicefs", "nanio": "nanio"}[name]
    if not awkward.find_program(program):
        missing(f"{program} is not installed (it is in the development requirements)")
    key, secret = "awkward-key", secrets.token_urlsafe(24)
    serve = {"juicefs": awkward.juicefs_gateway, "nanio": awkward.nanio}[name]
    return serve(tmp_path_factory.mktemp(name), key, secret), key, secret


@pytest.fixture(scope="module")
def juicefs(tmp_path_factory):
    running, key, secret = _awkward("juicefs", tmp_path_factory)
    with running as front:
        yield front, key, secret


@pytest.fixture(scope="module")
def nanio(tmp_path_factory):
    running, key, secret = _awkward("nanio", tmp_path_factory)
    with running as front:
        yield front, key, secret


@pytest.fixture(params=["seaweedfs", "seaweedfs-tls", "juicefs-tls", "nanio-tls"])
def anywhere(request):
    """Each kind of server in turn, with a fresh bucket."""
    if request.param.startswith("seaweedfs"):
        server = request.getfixturevalue("s3_tls" if request.param.endswith("tls") else "s3")
        return place_at(server, request.getfixturevalue("new_bucket")(server))
    front, key, secret = request.getfixturevalue(request.param.partition("-")[0])
    made = Place(front.endpoint_url, key, secret, front.ca_bundle, f"bucket-{secrets.token_hex(6)}")
    made.client().create_bucket(Bucket=made.bucket)
    return made


def written(upload, size: int) -> str:
    """Write ``size`` bytes that repeat nowhere near a part's length; their SHA-256."""
    digest, done = hashlib.sha256(), 0
    while done < size:
        data = memoryview(BLOCK)[done // MIB % 7 :][: min(size - done, MIB - 7)]
        upload.write(data)
        digest.update(data)
        done += len(data)
    return digest.hexdigest()


def bytes_of(size: int) -> bytes:
    pieces = []

    class Collector:
        def write(self, data):
            pieces.append(bytes(data))

    written(Collector(), size)
    return b"".join(pieces)


# --- what holds on every server


def test_small_objects(anywhere):
    store = anywhere.store()
    store.put("backups/manifests/one.json", b'{"schema": 1}', "application/json")
    assert anywhere.content("backups/manifests/one.json") == b'{"schema": 1}'
    assert store.get("backups/manifests/one.json") == b'{"schema": 1}'
    assert store.get("backups/manifests/none.json") is None
    assert store.head("backups/manifests/none.json") is None
    found = store.head("backups/manifests/one.json")
    assert (found.key, found.bytes) == ("backups/manifests/one.json", 13)
    assert abs((datetime.datetime.now(datetime.timezone.utc) - found.modified).total_seconds()) < 60
    assert store.delete(["backups/manifests/one.json", "backups/manifests/none.json"]) == [
        "backups/manifests/one.json",
        "backups/manifests/none.json",
    ]
    assert anywhere.keys() == []


@pytest.mark.parametrize("size", [0, PART, 2 * PART + 3])
def test_what_is_uploaded_is_what_others_read(anywhere, size):
    store = anywhere.store()
    with store.upload("backups/one.sql.gz", size) as upload:
        digest = written(upload, size)
        stored = upload.complete()
    assert (stored.key, stored.bytes, upload.bytes, upload.sha256) == (
        "backups/one.sql.gz",
        size,
        size,
        digest,
    )
    assert hashlib.sha256(anywhere.content("backups/one.sql.gz")).hexdigest() == digest
    assert upload.etag_confirmed, "these four servers make their ETags as Amazon does"
    download = store.download("backups/one.sql.gz", size)
    assert b"".join(download) == bytes_of(size)
    assert (download.bytes, download.total, download.sha256) == (size, size, digest)
    assert anywhere.unfinished() == []


def test_an_object_is_invisible_until_it_is_complete(anywhere):
    store = anywhere.store()
    with store.upload("backups/one.sql.gz", 100) as upload:
        written(upload, 3 * PART)
        assert store.head("backups/one.sql.gz") is None
        assert list(store.list("backups/")) == []
        upload.complete()
    assert store.head("backups/one.sql.gz").bytes == 3 * PART


def test_an_upload_left_leaves_nothing(anywhere):
    store = anywhere.store()
    for size in (10, 2 * PART + 1):
        for leave in (StoreError("Failed to dump crm: killed"), KeyboardInterrupt(), None):
            with (
                contextlib.suppress(StoreError, KeyboardInterrupt),
                store.upload("backups/one.sql.gz", 100) as upload,
            ):
                written(upload, size)
                if leave:
                    raise leave
            assert anywhere.keys() == []
            assert anywhere.unfinished() == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("upload")]


def test_a_prefix_lists_what_lies_under_it(anywhere):
    store = anywhere.store()
    for key in ("app/one", "app/two words+plus%", "app/sub/three", "app_test/four", "other"):
        store.put(key, b"x")
    assert sorted(entry.key for entry in store.list("app/")) == [
        "app/one",
        "app/sub/three",
        "app/two words+plus%",
    ]
    assert sorted(entry.key for entry in store.list("app/", delimiter="/")) == [
        "app/one",
        "app/two words+plus%",
    ]
    assert len(list(store.list(""))) == 5
    assert list(store.list("nothing/")) == []


def test_a_bucket_is_made_once(anywhere):
    store = anywhere.store(s3_bucket=f"fresh-{secrets.token_hex(6)}")
    assert not store.bucket_exists()
    assert store.create_bucket() is True
    assert store.bucket_exists()
    assert store.create_bucket() is False
    store.check()
    anywhere.client().delete_bucket(Bucket=store.settings.s3_bucket)


def test_settings_of_the_bucket_are_tried_and_never_harm(anywhere):
    store = anywhere.store()
    store.put("postgres-backup/one", b"x")
    assert store.make_private() in ("set", "unchanged", "unsupported")
    first = store.expire_unfinished_uploads(7)
    assert first in ("set", "unsupported")
    assert store.expire_unfinished_uploads(7) == ("unchanged" if first == "set" else "unsupported")
    assert store.get("postgres-backup/one") == b"x"


def test_the_clocks_agree(anywhere):
    assert abs(anywhere.store().clock_difference()) < 3


def test_wrong_keys_are_told_apart_everywhere(anywhere):
    with pytest.raises(StoreError, match="does not know the access key"):
        anywhere.store(s3_access_key="nobody").check()
    with pytest.raises(StoreError, match="secret key does not fit"):
        anywhere.store(s3_secret_key="wrong-" + anywhere.secret_key).check()
    with pytest.raises(StoreError, match="there is no bucket 'no-such-bucket'"):
        anywhere.store(s3_bucket="no-such-bucket").check()


# --- the awkward ones are awkward: else the tests above prove little


def test_juicefs_refuses_a_careless_client(juicefs):
    front, key, secret = juicefs
    place = Place(
        front.endpoint_url, key, secret, front.ca_bundle, f"bucket-{secrets.token_hex(6)}"
    )
    place.client().create_bucket(Bucket=place.bucket)
    with pytest.raises(botocore.exceptions.ClientError, match="MissingContentLength"):
        place.client(careless=True).put_object(Bucket=place.bucket, Key="one", Body=b"data")


def test_nanio_spoils_what_a_careless_client_sends(nanio):
    front, key, secret = nanio
    place = Place(
        front.endpoint_url, key, secret, front.ca_bundle, f"bucket-{secrets.token_hex(6)}"
    )
    place.client().create_bucket(Bucket=place.bucket)
    place.client(careless=True).put_object(Bucket=place.bucket, Key="one", Body=b"data")
    assert b"x-amz-checksum-crc32" in place.content("one")


# --- large and many


def test_a_listing_of_more_than_a_page(place):
    wanted = sorted(f"many/{number:05d}" for number in range(1100))
    client = place.client()
    for key in wanted:
        client.put_object(Bucket=place.bucket, Key=key, Body=b"")
    store = place.store()
    assert [entry.key for entry in store.list("many/")] == wanted
    assert store.delete(wanted[:20]) == wanted[:20]
    assert [entry.key for entry in store.list("many/")] == wanted[20:]
    for some in (wanted[20:600], wanted[600:]):  # in few calls, for the test's own time
        client.delete_objects(
            Bucket=place.bucket, Delete={"Objects": [{"Key": key} for key in some], "Quiet": True}
        )


def test_half_a_gigabyte_takes_little_memory(place, tmp_path):
    program = """
    import json, os, sys
    from pathlib import Path
    from postgres_backup.settings import Settings
    from postgres_backup.s3.store import Store

    def peak():  # not ru_maxrss, which begins with the parent's
        return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) // 1024

    store = Store(Settings(**json.loads(sys.stdin.read())))
    store.check()
    before = peak()
    block = os.urandom(1 << 20)
    with store.upload("big", 1 << 29) as upload:
        for _ in range(1 << 9):
            upload.write(block)
        upload.complete()
    after = peak()
    total = sum(len(chunk) for chunk in store.download("big", 1 << 29))
    print(json.dumps([before, after, peak(), total]))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        input=json.dumps(dataclasses.asdict(place.settings())),
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    before, after, end, total = json.loads(done.stdout)
    assert total == 1 << 29
    assert after - before < 50, "MB for the upload: four parts of 8 MiB, and a little"
    assert end - after < 10, "MB more for the download"
    assert end < 130


def test_parts_are_equal_and_as_planned(place, monkeypatch):
    store = place.store(s3_max_parts=4)
    with store.upload("one", 24 * MIB) as upload:
        sent = []
        store.s3.client.meta.events.register(
            "before-call.s3.UploadPart", lambda params, **_: sent.append(len(params["body"]))
        )
        written(upload, 24 * MIB + 5)
        upload.complete()
    assert upload.plan.part_bytes == 9 * MIB
    assert sorted(sent) == [6 * MIB + 5, 9 * MIB, 9 * MIB]


def test_a_stream_that_outgrows_its_plan_gets_larger_parts_at_the_end(place):
    store = place.store(s3_max_parts=8)
    size = 90 * MIB  # eight parts of 8 MiB hold 64
    with store.upload("one", 100) as upload:
        digest = written(upload, size)
        upload.complete()
    assert hashlib.sha256(place.content("one")).hexdigest() == digest


def test_a_stream_that_no_growing_helps_is_refused_and_leaves_nothing(place):
    with (
        pytest.raises(StoreError, match="grew beyond 2 parts") as caught,
        place.store(s3_max_parts=2).upload("one", 100) as upload,
    ):
        written(upload, 40 * MIB)
    assert "backup_s3_max_parts" in caught.value.hint
    assert place.keys() == place.unfinished() == []


def test_get_refuses_what_is_not_small(place):
    store = place.store()
    store.put("one", bytes(1000))
    with pytest.raises(StoreError, match="it holds 1000 bytes"):
        store.get("one", limit=999)
    assert store.get("one", limit=1000) == bytes(1000)


# --- what is sent


def test_every_body_goes_with_its_md5_and_nothing_optional(place):
    store = place.store()
    sent = []
    store.s3.client.meta.events.register(
        "before-send.s3",
        lambda request, **_: sent.append(
            (request.method, request.url, {k.lower(): v for k, v in request.headers.items()})
        ),
    )
    store.put("one", b"x")
    with store.upload("two", 100) as upload:
        written(upload, PART + 1)
        upload.complete()
    store.expire_unfinished_uploads(3)
    with_body = [headers for method, url, headers in sent if method == "PUT"]
    assert len(with_body) == 4
    assert all("content-md5" in headers for headers in with_body)
    unwanted = (
        "x-amz-checksum",
        "x-amz-sdk-checksum",
        "x-amz-trailer",
        "x-amz-acl",
        "x-amz-storage",
        "x-amz-server-side",
        "x-amz-tagging",
        "x-amz-object-lock",
    )
    assert not [name for _, _, headers in sent for name in headers if name.startswith(unwanted)]


def test_nothing_of_the_environment_gets_in(place, monkeypatch, tmp_path):
    (tmp_path / "config").write_text(
        "[default]\nendpoint_url = http://127.0.0.1:9\nregion = mars\n[broken"
    )
    before = {
        "HOME": str(tmp_path),
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_PROFILE": "nobody",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
        "AWS_CA_BUNDLE": "/nonexistent",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_SESSION_TOKEN": "stale",
        "AWS_REGION": "mars",
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_supported",
        "AWS_RETRY_MODE": "nonsense",
        "AWS_MAX_ATTEMPTS": "x",
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
        "AWS_DATA_PATH": str(tmp_path),
        "REQUESTS_CA_BUNDLE": "/nonexistent",
    }
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    store = place.store()
    store.put("one", b"x")
    assert place.store().get("one") == b"x"
    assert {name: os.environ.get(name) for name in before} == before, (
        "and the environment is as it was"
    )


def test_a_proxy_of_the_environment_is_used(place, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(StoreError, match="the proxy in front of") as caught:
        place.store(patience=0).put("one", b"x")
    assert "HTTPS_PROXY" in caught.value.hint


def test_buckets_as_host_names(place, monkeypatch):
    lookup = socket.getaddrinfo
    # RFC 6761: names under .localhost are this machine; not every resolver knows
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *rest, **more: lookup(
            "127.0.0.1" if str(host).endswith(".localhost") else host, *rest, **more
        ),
    )
    store = place.store(
        s3_endpoint_url=place.endpoint_url.replace("127.0.0.1", "localhost"),
        s3_addressing_style="virtual",
    )
    hosts = []
    store.s3.client.meta.events.register(
        "before-send.s3", lambda request, **_: hosts.append(request.url.split("/")[2])
    )
    store.put("one", b"virtual")
    assert place.content("one") == b"virtual"
    assert hosts[0].startswith(f"{place.bucket}.localhost")


# --- errors in words


def one_sentence(error: PostgresBackupError, *secret: str) -> str:
    assert "\n" not in error.message
    assert error.message.startswith("Failed to ")
    assert len(error.message) < 300
    for text in secret:
        assert text not in str(error)
    return error.hint


@pytest.mark.parametrize(
    ("change", "cause", "check"),
    [
        ({"s3_access_key": "nobody"}, "does not know the access key", "backup_s3_access_key"),
        ({"s3_secret_key": "wrong-wrong"}, "secret key does not fit", "backup_s3_secret_key"),
        (
            {"s3_bucket": "no-such-bucket"},
            "there is no bucket 'no-such-bucket'",
            "backup_s3_bucket",
        ),
        (
            {"s3_endpoint_url": "http://127.0.0.1:9"},
            "nothing answers at http://127.0.0.1:9 (connection refused)",
            "backup_s3_endpoint_url",
        ),
        (
            {"s3_endpoint_url": "http://no-such-host.invalid"},
            "the name no-such-host.invalid cannot be resolved",
            "backup_s3_endpoint_url",
        ),
    ],
)
def test_wrong_settings_say_what_to_check(place, change, cause, check):
    began = time.monotonic()
    with pytest.raises(StoreError) as caught:
        place.store(**change).check()
    assert cause in caught.value.message
    assert check in one_sentence(caught.value, place.secret_key, "wrong-wrong")
    assert caught.value.exit_status == 1
    assert time.monotonic() - began < 15, "somebody waits for it"


def test_tls_errors_say_what_to_check(s3_tls, new_bucket, place):
    secure = place_at(s3_tls, new_bucket(s3_tls))
    secure.store().check()
    with pytest.raises(StoreError, match="is not trusted") as caught:
        secure.store(s3_ca_bundle="").check()
    assert "backup_s3_ca_bundle" in one_sentence(caught.value)
    with pytest.raises(StoreError, match="does not speak TLS") as caught:
        place.store(s3_endpoint_url=place.endpoint_url.replace("http:", "https:")).check()
    assert "http://" in one_sentence(caught.value)
    with pytest.raises(StoreError) as caught:
        secure.store(s3_endpoint_url=secure.endpoint_url.replace("https:", "http:")).check()
    assert "backup_s3_endpoint_url" in one_sentence(caught.value)
    with pytest.raises(UsageError, match="cannot be read"):
        secure.store(s3_ca_bundle="/nonexistent/ca.pem")


def test_a_firewall_that_swallows_is_not_waited_for(place, monkeypatch):
    monkeypatch.setattr(s3_room, "CONNECT_TIMEOUT", 1)
    with socket.socket() as deaf, contextlib.ExitStack() as waiting:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)  # further connections are not answered once this queue is full
        for _ in range(2):
            filler = waiting.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())
        with pytest.raises(StoreError, match="did not answer within") as caught:
            place.store(s3_endpoint_url=f"http://127.0.0.1:{deaf.getsockname()[1]}").check()
    assert "firewall" in one_sentence(caught.value)


@pytest.mark.parametrize(("kind", "status"), [("html", 200), ("status", 404), ("status", 403)])
def test_something_that_is_not_s3(behind, proxy, kind, status):
    proxy.plan(kind, times=99, status=status, code="")
    with pytest.raises(StoreError) as caught:
        behind.store().check()
    assert "backup_s3_" in one_sentence(caught.value)
    if status != 403:
        assert "not as S3 does" in caught.value.message


def test_a_web_server_that_sends_elsewhere(place):
    class Elsewhere(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(301)
            self.send_header("Location", "https://console.example.com/login")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        with pytest.raises(
            StoreError, match=r"sends elsewhere: https://console\.example\.com/login"
        ) as caught:
            place.store(s3_endpoint_url=f"http://127.0.0.1:{server.server_port}").check()
        server.shutdown()
    assert "backup_s3_endpoint_url" in one_sentence(caught.value)


def test_the_wrong_region(behind, proxy):
    proxy.plan(
        "status",
        times=99,
        status=400,
        code="AuthorizationHeaderMalformed",
        more="<Region>kz-1</Region>",
    )
    with pytest.raises(StoreError, match="the store expects 'kz-1'") as caught:
        behind.store().check()
    assert "backup_s3_region" in one_sentence(caught.value)


def test_a_clock_that_is_wrong(place, monkeypatch):
    real = botocore.auth.get_current_datetime
    monkeypatch.setattr(
        botocore.auth,
        "get_current_datetime",
        lambda *args, **more: real(*args, **more) - datetime.timedelta(hours=1),
    )
    now = time.time
    store = place.store()
    with pytest.raises(
        StoreError, match="clocks of this machine and of the store differ"
    ) as caught:
        store.check()
    assert "timedatectl" in one_sentence(caught.value)
    monkeypatch.setattr(time, "time", lambda: now() - 3600)
    assert store.clock_difference() == pytest.approx(-3600, abs=3), "although the store refused"


def test_what_a_key_may_not_do_is_said(tmp_path_factory):
    secret = secrets.token_urlsafe(24)
    only = {
        "reader": (secret, ["Read:one-bucket", "List:one-bucket"]),
        "writer": (secret, ["Write:one-bucket"]),
    }
    with SeaweedFS(
        tmp_path_factory.mktemp("keys"), "admin", secret, more_keys=only, dies_with_parent=True
    ) as server:
        place = place_at(server, "one-bucket")
        place.client().create_bucket(Bucket="one-bucket")
        place.store().put("one", b"x")
        reader, writer = place.store(s3_access_key="reader"), place.store(s3_access_key="writer")
        reader.check()
        assert reader.get("one") == b"x"
        for forbidden in (lambda: reader.put("two", b"x"), lambda: reader.delete(["one"])):
            with pytest.raises(Refused, match="does not allow it to this key") as caught:
                forbidden()
            assert "backup_s3_access_key" in one_sentence(caught.value, secret)
        with pytest.raises(Refused, match="does not allow"), reader.upload("two", 10) as upload:
            written(upload, 2 * PART)
        assert place.keys() == ["one"]
        with pytest.raises(Refused, match="does not allow"):
            writer.check()
        writer.put("two", b"x")
        with pytest.raises(Refused, match="does not allow"):
            place.store(s3_access_key="reader", s3_bucket="another-bucket").create_bucket()


# --- faults


def test_a_part_damaged_on_the_way_is_refused_and_sent_again(behind, proxy, place):
    damaged = proxy.plan("flip", "PUT", "partNumber=2", after=1_000_000)
    with behind.store().upload("one", 100) as upload:
        digest = written(upload, 3 * PART)
        upload.complete()
    assert damaged.done == 1
    assert hashlib.sha256(place.content("one")).hexdigest() == digest


def test_a_small_object_damaged_on_the_way_is_sent_again(behind, proxy, place):
    damaged = proxy.plan("flip", "PUT", "/one", after=3, times=2)
    behind.store().put("one", b"manifest")
    assert damaged.done == 2
    assert place.content("one") == b"manifest"


@pytest.mark.parametrize("status", [500, 503])
def test_a_store_that_fails_for_a_while(behind, proxy, place, status):
    faults = [
        proxy.plan("status", "POST", "uploads", status=status, times=2),
        proxy.plan("status", "PUT", "partNumber=1", status=status, times=2),
        proxy.plan("status", "PUT", "partNumber=3", status=status),
        proxy.plan("status", "POST", "uploadId", status=status),
        proxy.plan("status", "HEAD", status=status),
        proxy.plan("status", "GET", "/one", status=status),
        proxy.plan("status", "GET", "list-type", status=status),
        proxy.plan("status", "DELETE", status=status),
    ]
    store = behind.store()
    with store.upload("one", 100) as upload:
        digest = written(upload, 3 * PART + 1)
        upload.complete()
    assert hashlib.sha256(b"".join(store.download("one"))).hexdigest() == digest
    assert [entry.key for entry in store.list("")] == ["one"]
    store.delete(["one"])
    assert [fault.done for fault in faults] == [2, 2, 1, 1, 1, 1, 1, 1]
    assert place.keys() == place.unfinished() == []


@pytest.mark.parametrize("kind", ["cut_request", "lose_answer"])
def test_a_link_that_breaks_during_an_upload(behind, proxy, place, kind):
    faults = [proxy.plan(kind, "PUT", f"partNumber={number}", after=3 * MIB) for number in (1, 2)]
    with behind.store().upload("one", 100) as upload:
        digest = written(upload, 3 * PART)
        upload.complete()
    assert [fault.done for fault in faults] == [1, 1]
    assert hashlib.sha256(place.content("one")).hexdigest() == digest
    assert place.unfinished() == []


def test_the_answer_to_the_completion_is_lost(behind, proxy, place):
    lost = proxy.plan("lose_answer", "POST", "uploadId")
    with behind.store().upload("one", 100) as upload:
        digest = written(upload, 2 * PART)
        stored = upload.complete()
    assert lost.done == 1
    assert stored.bytes == 2 * PART
    assert hashlib.sha256(place.content("one")).hexdigest() == digest


def test_the_completion_is_lost_and_the_store_has_forgotten_the_upload(behind, proxy, place):
    proxy.plan("lose_answer", "POST", "uploadId")
    proxy.plan("status", "POST", "uploadId", times=9, status=404, code="NoSuchUpload")
    with behind.store().upload("one", 100) as upload:
        digest = written(upload, 2 * PART)
        upload.complete()
    assert hashlib.sha256(place.content("one")).hexdigest() == digest


def test_an_older_object_of_the_same_size_is_not_taken_for_ours(behind, proxy, place):
    place.client().put_object(Bucket=place.bucket, Key="one", Body=bytes(2 * PART))
    proxy.plan("status", "POST", "uploadId", times=9, status=404, code="NoSuchUpload")
    with pytest.raises(Refused, match="NoSuchUpload"), behind.store().upload("one", 100) as upload:  # noqa: PT012 - which of them raises is the store's affair
        written(upload, 2 * PART)
        upload.complete()
    assert place.content("one") == bytes(2 * PART)


def test_a_completion_that_never_happened_is_a_failure(behind, proxy, place):
    proxy.plan("status", "POST", "uploadId", times=9, status=404, code="NoSuchUpload")
    with pytest.raises(Refused, match="NoSuchUpload"), behind.store().upload("one", 100) as upload:  # noqa: PT012 - which of them raises is the store's affair
        written(upload, 2 * PART)
        upload.complete()
    assert place.keys() == place.unfinished() == []


@pytest.mark.parametrize("size", [10, 2 * PART])
def test_an_interrupted_completion_leaves_no_object(place, size):
    """The store finished it, the answer was on its way, and the run was stopped just then."""
    store = place.store()

    def interrupt(**_):
        raise KeyboardInterrupt

    for operation in ("CompleteMultipartUpload", "PutObject"):
        store.s3.client.meta.events.register(f"after-call.s3.{operation}", interrupt)
    with contextlib.suppress(KeyboardInterrupt), store.upload("one", 100) as upload:
        written(upload, size)
        upload.complete()
    assert place.keys() == place.unfinished() == []


@pytest.mark.parametrize("size", [10, 2 * PART])
def test_an_interrupted_replacement_leaves_what_was_there(place, size):
    old = bytes(size)
    place.client().put_object(Bucket=place.bucket, Key="one", Body=old)
    store = place.store()

    def interrupt(**_):
        raise KeyboardInterrupt

    for operation in ("CompleteMultipartUpload", "PutObject"):
        store.s3.client.meta.events.register(f"before-send.s3.{operation}", interrupt)
    with contextlib.suppress(KeyboardInterrupt), store.upload("one", 100) as upload:
        written(upload, size)
        upload.complete()
    assert place.content("one") == old
    assert place.unfinished() == []


def test_a_slow_link_is_not_a_broken_one(behind, proxy, place, monkeypatch):
    """A part may take longer than any timeout, as long as it moves."""
    monkeypatch.setattr(s3_room, "CONNECT_TIMEOUT", 2)
    monkeypatch.setattr(s3_room, "READ_TIMEOUT", 3)
    proxy.plan("slow", "PUT", times=99, seconds=6)
    with behind.store(patience=0).upload("one", 100) as upload:
        digest = written(upload, 2 * PART)
        upload.complete()
    assert hashlib.sha256(place.content("one")).hexdigest() == digest


def test_the_answer_to_the_beginning_is_lost_and_the_run_ends(behind, proxy, place):
    proxy.plan("lose_answer", "POST", "uploads")
    proxy.plan("status", "POST", "uploads", times=99)
    with (
        pytest.raises(StoreError, match="goes on failing"),
        behind.store(patience=1).upload("one", 100) as upload,
    ):
        written(upload, 2 * PART)
    assert place.unfinished() == []


def test_giving_up_does_not_wait_for_a_slow_link(behind, proxy, place):
    proxy.plan("slow", "PUT", times=99, seconds=120)
    with contextlib.suppress(KeyboardInterrupt), behind.store().upload("one", 100) as upload:
        written(upload, 2 * PART + 1)
        time.sleep(0.5)
        began = time.monotonic()
        raise KeyboardInterrupt
    assert time.monotonic() - began < 20
    assert place.keys() == place.unfinished() == []


def test_a_store_that_is_silent_is_asked_again(behind, proxy, place, monkeypatch):
    monkeypatch.setattr(s3_room, "READ_TIMEOUT", 3)
    silent = proxy.plan("hang", "PUT", "partNumber=1", seconds=20, times=2)
    with behind.store().upload("one", 100) as upload:
        digest = written(upload, 2 * PART)
        upload.complete()
    assert silent.done == 2
    assert hashlib.sha256(place.content("one")).hexdigest() == digest


def test_a_store_that_stays_silent_ends_the_run(behind, proxy, place, monkeypatch):
    monkeypatch.setattr(s3_room, "READ_TIMEOUT", 3)
    monkeypatch.setattr(errors, "READ_TIMEOUT", 3)
    proxy.plan("hang", "PUT", times=99, seconds=20)
    with (
        pytest.raises(StoreError, match="silent for 3 seconds"),
        behind.store(patience=2).upload("one", 100) as upload,
    ):
        written(upload, 3 * PART)
        upload.complete()
    assert place.keys() == place.unfinished() == []


def test_a_failed_part_stops_the_writer_soon(behind, proxy, place):
    proxy.plan("status", "PUT", "partNumber=1", times=99, status=400, code="InvalidRequest")
    with (
        pytest.raises(Refused, match="upload part 1 of one"),
        behind.store().upload("one", 100) as upload,
    ):
        written(upload, 100 * PART)
    assert upload.bytes < 8 * PART
    assert place.unfinished() == []


def test_a_store_that_dies_during_an_upload_is_the_error_shown(place, tmp_path_factory):
    with SeaweedFS(
        tmp_path_factory.mktemp("dying"), "key", secrets.token_urlsafe(24), dies_with_parent=True
    ) as server:
        dying = place_at(server, "one-bucket")
        dying.client().create_bucket(Bucket="one-bucket")
        with (
            pytest.raises(StoreError, match="upload part") as caught,
            dying.store(patience=1).upload("one", 100) as upload,
        ):
            written(upload, 2 * PART)
            server.stop()
            written(upload, 10 * PART)
        assert [finding["code"] for finding in caught.value.findings] == ["UPLOAD_NOT_ABORTED"]
        server.start()
        again = place_at(server, "one-bucket")
        assert again.unfinished() == ["one"]
        assert again.store().sweep_uploads("", older_than_hours=0) == 1
        assert again.unfinished() == []


def test_a_terminated_run_leaves_nothing(place):
    program = """
    import json, sys
    from postgres_backup.machine import signals as interrupt
    from postgres_backup.settings import Settings
    from postgres_backup.s3.store import Store
    interrupt.listen()
    settings = Settings(**json.loads(sys.stdin.readline()))
    try:
        with Store(settings).upload("one", 100) as upload:
            while True:
                upload.write(bytes(1 << 20))
                if upload.bytes == 20 << 20:
                    print("under way", flush=True)
    except interrupt.Interrupted as stop:
        sys.exit(f"ended by {stop}")
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        text=True,
    ) as process:
        process.stdin.write(json.dumps(dataclasses.asdict(place.settings())) + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "under way\n"
        assert place.unfinished() == ["one"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 1
    assert place.keys() == place.unfinished() == []


# --- downloads


@pytest.fixture
def stored(place):
    """An object of 5 MiB and a bit."""
    data = bytes_of(5 * MIB + 17)
    place.client().put_object(Bucket=place.bucket, Key="one", Body=data)
    return data


def test_a_broken_download_goes_on_where_it_broke(behind, proxy, stored):
    for after in (MIB + 5, 0, 2 * MIB):
        proxy.plan("cut_response", "GET", "/one", after=after)
    download = behind.store().download("one", len(stored))
    assert b"".join(download) == stored
    assert download.resumed == 3
    assert download.sha256 == hashlib.sha256(stored).hexdigest()


def test_a_download_that_goes_nowhere_ends(behind, proxy, stored, monkeypatch):
    monkeypatch.setattr(download_room, "ATTEMPTS", 2)
    proxy.plan("cut_response", "GET", "/one", times=99)
    with pytest.raises(StoreError, match="broke 3 times at byte 0 of"):
        b"".join(behind.store().download("one"))


def test_an_object_replaced_during_a_download_is_noticed(behind, proxy, place, stored):
    proxy.plan("cut_response", "GET", "/one", after=2 * MIB)
    with pytest.raises(BadBackupError, match="replaced while it was being read") as caught:  # noqa: PT012 - which of them raises is the store's affair
        for number, _ in enumerate(behind.store().download("one")):
            if number == 0:
                place.client().put_object(Bucket=place.bucket, Key="one", Body=stored[::-1])
    assert caught.value.findings[0]["code"] == "OBJECT_CHANGED"


def test_an_object_of_another_size_than_expected_is_refused(place, stored):
    with pytest.raises(BadBackupError, match="not the 5 of its manifest") as caught:
        b"".join(place.store().download("one", 5))
    assert caught.value.findings[0]["code"] == "OBJECT_SIZE"
    assert caught.value.exit_status == 4


def test_a_download_of_nothing_says_so(place):
    with pytest.raises(StoreError, match="there is no such object"):
        b"".join(place.store().download("nothing"))


def test_a_download_may_be_left(place, stored):
    with place.store().download("one") as download:
        for _ in download:
            break
    assert 0 < download.bytes < len(stored)


# --- the bucket


def test_the_rules_of_others_stay(place):
    client = place.client()
    theirs = {
        "ID": "theirs",
        "Status": "Enabled",
        "Filter": {"Prefix": "logs/"},
        "Expiration": {"Days": 30},
    }
    client.put_bucket_lifecycle_configuration(
        Bucket=place.bucket, LifecycleConfiguration={"Rules": [theirs]}
    )
    store = place.store()
    assert store.expire_unfinished_uploads(7, check=True) == "set"
    assert client.get_bucket_lifecycle_configuration(Bucket=place.bucket)["Rules"] == [theirs], (
        "a look changes nothing"
    )
    assert store.expire_unfinished_uploads(7) == "set"
    assert store.expire_unfinished_uploads(7, check=True) == "unchanged"
    assert store.expire_unfinished_uploads(3) == "set"
    rules = {
        rule["ID"]: rule
        for rule in client.get_bucket_lifecycle_configuration(Bucket=place.bucket)["Rules"]
    }
    assert rules.pop("theirs") == theirs
    assert [rule["AbortIncompleteMultipartUpload"] for rule in rules.values()] == [
        {"DaysAfterInitiation": 3}
    ]
    assert [rule["Filter"] for rule in rules.values()] == [{"Prefix": "postgres-backup/"}]


def test_a_bucket_that_anybody_may_read_is_not_private(place):
    store = place.store()
    store.put("one", b"x")
    assert bucket_room.strangers_may(store.s3) == []
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": "*",
                "Action": "s3:GetObject",
                "Resource": f"arn:aws:s3:::{place.bucket}/*",
            },
            {
                "Effect": "Allow",
                "Principal": "*",
                "Action": "s3:ListBucket",
                "Resource": f"arn:aws:s3:::{place.bucket}",
            },
        ],
    }
    place.client().put_bucket_policy(Bucket=place.bucket, Policy=json.dumps(policy))
    with pytest.raises(StoreError, match="anybody may list and read from it without a key"):
        store.make_private()
    place.client().delete_bucket_policy(Bucket=place.bucket)
    assert store.make_private() == "unsupported", (
        "SeaweedFS has no public access block, and is private without"
    )


def test_only_old_uploads_of_ones_own_are_swept(place):
    client = place.client()
    for key in ("mine/one", "mine/two", "others/three"):
        client.create_multipart_upload(Bucket=place.bucket, Key=key)
    store = place.store()
    assert store.sweep_uploads("mine/", older_than_hours=24) == 0
    assert len(place.unfinished()) == 3
    time.sleep(1)
    assert store.sweep_uploads("mine/", older_than_hours=0) == 2
    assert place.unfinished() == ["others/three"]
