"""Backups live on every store that can be had: on three in `make test`, on all by `make stores`."""

import pytest

from tests.conftest import missing
from tests.integration.store_life import live_through
from tests.services import stores

#: those that everybody waits for
QUICK = ("seaweedfs", "juicefs", "rclone")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=[pytest.mark.stores, *([] if name in QUICK else [pytest.mark.gameday])]
        )
        for name in stores.WHEELS
    ],
)
def test_backups_live_there(name, database, new_config, tmp_path_factory, tmp_path):
    if lacks := stores.lacking(name):
        missing(lacks)
    with stores.served(name, tmp_path_factory.mktemp(name)) as store:
        live_through(name, store, database, new_config, tmp_path)
