"""S3 servers with a fresh bucket, and a network between that can fail."""

import dataclasses
import secrets

import pytest

from tests.conftest import missing
from tests.integration.s3.places import Place, place_at
from tests.services import awkward
from tests.services.proxy import FaultProxy


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


@pytest.fixture(scope="session")
def juicefs(tmp_path_factory):
    running, key, secret = _awkward("juicefs", tmp_path_factory)
    with running as front:
        yield front, key, secret


@pytest.fixture(scope="session")
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
