"""The settings of a server whose keys lie in a folder of their own."""

from __future__ import annotations

import dataclasses

import pytest

from postgres_backup.settings import Settings


@pytest.fixture
def server(tmp_path):
    """Settings of the server ``crm-1``."""
    made = Settings("crm-1", ("crm",), "u", "https://s3.example.org", "bucket", "k", "secret")
    folder = tmp_path / "etc"
    folder.mkdir()
    return dataclasses.replace(
        made,
        signing_key_file=str(folder / "signing.key"),
        trusted_signers_file=str(folder / "trusted_signers"),
    )
