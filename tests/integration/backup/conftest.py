"""What these backups are of: a sample, and a database large enough to break off half-way."""

from __future__ import annotations

import pyrage
import pytest

from tests.integration import engine
from tests.integration.backup.half_way import as_superuser
from tests.services.proxy import FaultProxy


@pytest.fixture
def sample_config(config, sample_database):
    """The config of the sample database, as superuser: its objects have several owners."""
    as_superuser(config, sample_database)
    return config


@pytest.fixture(scope="module")
def noise(postgres_server):
    """A database of 80 MB that hardly shrinks: its upload has several parts and takes a while."""
    server = postgres_server()
    server.execute("CREATE DATABASE noise")
    engine.fill_with_noise(server, "noise", 80)
    yield "noise"
    server.execute("DROP DATABASE noise WITH (FORCE)")


@pytest.fixture
def noise_config(noise, config, database):
    config.change(DB_NAME=noise)
    as_superuser(config, database)
    return config


@pytest.fixture
def proxy(s3, noise_config):
    """Between us and the store, while the large database is backed up."""
    with FaultProxy(s3.endpoint_url) as between:
        noise_config.change(S3_ENDPOINT_URL=between.endpoint_url)
        yield between


@pytest.fixture
def age_key(tmp_path):
    """A new key pair: the public key, and the file of the private one."""
    pair = pyrage.x25519.Identity.generate()
    file = tmp_path / "age-key.txt"
    file.write_text(f"# public key: {pair.to_public()}\n{pair}\n")
    return str(pair.to_public()), file
