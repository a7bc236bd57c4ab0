"""The page in the bucket, and a link to it that ends."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest

from postgres_backup.errors import StoreError, UsageError
from postgres_backup.health.publish import lines, publish_page
from tests.integration import engine

KEY = "postgres-backup/report/report.html"


@pytest.fixture
def settings(new_config, s3, bucket):
    return new_config(engine.NO_SERVER, s3, bucket).settings


def test_whoever_has_the_link_reads_the_page_and_nobody_else(settings, s3_client, bucket):
    publish_page(settings, "<p>before", 1)
    made = publish_page(settings, "<p>Zoë", 2)
    assert (made["key"], made["changed"], engine.keys(s3_client, bucket)) == (KEY, True, [KEY])
    with urllib.request.urlopen(made["link"], timeout=20) as answer:
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.read().decode() == "<p>Zoë"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(made["link"].split("?")[0], timeout=20)
    assert "X-Amz-Expires=7200" in made["link"]
    assert lines(made)[-1] == made["link"]


def test_check_puts_nothing_there_and_makes_no_link(settings, s3_client, bucket):
    planned = publish_page(settings, "<p>", 168, check=True)
    assert "link" not in planned
    assert engine.keys(s3_client, bucket) == []
    assert KEY in lines(planned)[0]


@pytest.mark.parametrize("hours", [0, 169])
def test_no_link_lasts_longer_than_a_week(settings, hours, s3_client, bucket):
    with pytest.raises(UsageError, match="cannot be good"):
        publish_page(settings, "<p>", hours)
    assert engine.keys(s3_client, bucket) == []


def test_a_store_that_does_not_answer_is_said(new_config, s3, bucket):
    config = new_config(engine.NO_SERVER, s3, bucket)
    with pytest.raises(StoreError):
        publish_page(config.change(S3_BUCKET_NAME="not-there-at-all"), "<p>", 1)
