"""What goes over the wire, on real S3 servers: nothing optional, nothing of the environment, and
again where it failed.
"""

import hashlib
import os
import secrets
import socket

import botocore.auth
import botocore.exceptions
import pytest

from postgres_backup.errors import StoreError
from postgres_backup.s3 import bucket as bucket_room
from postgres_backup.s3 import calls
from postgres_backup.s3.canary import FOLDER
from tests.integration.s3.places import PART, Place, written


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


def test_every_body_goes_with_its_md5_and_nothing_optional(place):
    store = place.store()
    sent = []
    store.s3.client.meta.events.register(
        "before-send.s3",
        lambda request, **_: sent.append(
            (request.method, request.url, {k.lower(): v for k, v in request.headers.items()})
        ),
    )
    store.put(calls.PROOF, "one", b"x")
    with store.upload("two", 100) as upload:
        written(upload, PART + 1)
        upload.complete()
    bucket_room.expire_unfinished_uploads(store.s3, 3)
    with_body = [headers for method, _, headers in sent if method == "PUT"]
    # the object, two parts and the rule; and what is written to see whether that still works
    assert len([url for method, url, _ in sent if method == "PUT" and FOLDER not in url]) == 4
    assert len(with_body) > 4
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
    store.put(calls.PROOF, "one", b"x")
    assert place.store().get("one") == b"x"
    assert {name: os.environ.get(name) for name in before} == before, (
        "and the environment is as it was"
    )


def test_a_proxy_of_the_environment_is_used(place, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(StoreError, match="the proxy in front of") as caught:
        place.store(patience=0).put(calls.PROOF, "one", b"x")
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
    store.put(calls.PROOF, "one", b"virtual")
    assert place.content("one") == b"virtual"
    assert hosts[0].startswith(f"{place.bucket}.localhost")


def test_a_small_object_damaged_on_the_way_is_sent_again(behind, proxy, place):
    damaged = proxy.plan("flip", "PUT", "/one", after=3, times=2)
    behind.store().put(calls.PROOF, "one", b"manifest")
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
