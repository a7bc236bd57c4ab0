"""Backups live on a real Ceph, from Debian's packages on a server of its own; by `make stores`."""

from __future__ import annotations

import os
import secrets
import urllib.request

import pytest

from postgres_backup.s3 import bucket
from postgres_backup.s3.client import S3
from tests.documents import ROOT
from tests.integration.store_life import client_of, live_through
from tests.services.proxy import TlsFront
from tests.services.secure_s3 import make_certificate
from tests.services.stores import Served
from tests.waiting import wait_for

pytestmark = [pytest.mark.stores, pytest.mark.gameday, pytest.mark.timeout(1800)]
BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


@pytest.fixture(scope="module")
def ceph(request, tmp_path_factory):
    """A Ceph RGW behind TLS; one that runs already where CEPH_AT names it: address,key,secret."""
    if at := os.environ.get("CEPH_AT"):
        (address, key, secret), version = at.split(","), os.environ["CEPH_VERSION"]
    else:
        server = request.getfixturevalue("new_module_server")("bookworm")
        key, secret = "ceph-access-key", secrets.token_urlsafe(24)
        server.write("/root/ceph.sh", (ROOT / "tests/servers/ceph.sh").read_text())
        version = server.ssh("sh", "/root/ceph.sh", key, secret, timeout=1500).stdout.split()[-1]
        address = f"http://{server.address}:7480"
    wait_for("the gateway", lambda: urllib.request.urlopen(address, timeout=5).status == 200, 60)
    certificates = tmp_path_factory.mktemp("ceph-tls")
    make_certificate(certificates)
    with TlsFront(address, certificates) as front:
        short = version.partition("+")[0]
        yield Served(front.endpoint_url, key, secret, front.ca_bundle, short)


def test_backups_live_on_ceph(ceph, database, new_config, tmp_path):
    live_through("ceph", ceph, database, new_config, tmp_path)


def test_a_bucket_that_0_1_0_closed_to_its_owner_is_opened_again(ceph, database, new_config):
    name = f"closed-{secrets.token_hex(6)}"
    config, client = new_config(database, ceph, name), client_of(ceph)
    client.create_bucket(Bucket=name)
    client.put_public_access_block(
        Bucket=name, PublicAccessBlockConfiguration=dict.fromkeys(BLOCKS, True)
    )
    with pytest.raises(client.exceptions.ClientError, match="AccessDenied"):
        client.put_object(Bucket=name, Key="one", Body=b"x")
    made = bucket.make_ready(S3(config.settings), 3)
    assert (made["private"], made["changed"]) == ("set_partly", True)
    client.put_object(Bucket=name, Key="one", Body=b"x")
    assert bucket.make_ready(S3(config.settings), 3)["changed"] is False
