"""What is wrong with a store, a key, a name or a network: one sentence, and what to check."""

import contextlib
import datetime
import http.server
import secrets
import socket
import threading
import time

import botocore.auth
import botocore.exceptions
import pytest

from postgres_backup.errors import StoreError, UsageError
from postgres_backup.s3 import bucket as bucket_room
from postgres_backup.s3 import calls
from postgres_backup.s3 import client as s3_room
from postgres_backup.s3.errors import Refused
from tests.integration.s3.places import PART, one_sentence, place_at, written
from tests.services.brief import BriefSeaweedFS


def test_wrong_keys_are_told_apart_everywhere(anywhere):
    with pytest.raises(StoreError, match="does not know the access key"):
        anywhere.store(s3_access_key="nobody").check()
    with pytest.raises(StoreError, match="secret key does not fit"):
        anywhere.store(s3_secret_key="wrong-" + anywhere.secret_key).check()
    with pytest.raises(StoreError, match="there is no bucket 'no-such-bucket'"):
        anywhere.store(s3_bucket="no-such-bucket").check()


def test_an_address_with_the_bucket_in_it_is_told_and_nothing_is_made(anywhere):
    store = anywhere.store()
    url, name = store.settings.s3_endpoint_url, store.settings.s3_bucket
    wrong = anywhere.store(s3_endpoint_url=f"{url}/{name}")
    with pytest.raises(StoreError, match="has the bucket in it") as caught:
        wrong.check()
    assert caught.value.hint.endswith(f" to {url}")
    with pytest.raises(StoreError, match="has the bucket in it"):
        bucket_room.make_ready(wrong.s3, 7)
    assert [item.key for item in store.list(name)] == []


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
        words = {"html": "is not S3, but a web page", "status": "answers, but not as S3 does"}
        assert words[kind] in caught.value.message


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
    with BriefSeaweedFS(tmp_path_factory.mktemp("keys"), "admin", secret, more_keys=only) as server:
        place = place_at(server, "one-bucket")
        place.client().create_bucket(Bucket="one-bucket")
        place.store().put(calls.PROOF, "one", b"x")
        reader, writer = place.store(s3_access_key="reader"), place.store(s3_access_key="writer")
        reader.check()
        assert reader.get("one") == b"x"
        for forbidden in (
            lambda: reader.put(calls.PROOF, "two", b"x"),
            lambda: reader.delete(["one"]),
        ):
            with pytest.raises(Refused, match="does not allow it to this key") as caught:
                forbidden()
            assert "backup_s3_access_key" in one_sentence(caught.value, secret)
        with pytest.raises(Refused, match="does not allow"), reader.upload("two", 10) as upload:
            written(upload, 2 * PART)
        assert place.keys() == ["one"]
        with pytest.raises(Refused, match="does not allow"):
            writer.check()
        writer.put(calls.PROOF, "two", b"x")
        with pytest.raises(Refused, match="does not allow"):
            bucket_room.create(place.store(s3_access_key="reader", s3_bucket="another-bucket").s3)
