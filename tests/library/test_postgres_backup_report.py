"""The three modules of the page: what a server says, the file, the link."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "playbooks/templates/report.html.j2"
INFO, WRITE, PUBLISH = (
    "postgres_backup_report_info",
    "postgres_backup_report",
    "postgres_backup_publish",
)


@pytest.fixture
def facts(run_module, says_what_it_returns, config, filled) -> str:
    """What a server with one backup says."""
    run_module("postgres_backup_create", config=config.path)
    answer = run_module(INFO, check=True, config=config.path)
    says_what_it_returns(INFO, answer)
    assert not answer["changed"]
    assert json.loads(answer["facts"])["databases"][0]["database"] == filled.name
    return answer["facts"]


def test_a_page_is_written_whole_for_its_owner_only_and_not_in_check_mode(
    run_module, says_what_it_returns, facts, tmp_path
):
    given = {
        "servers": [{"name": "db1", "facts": facts}],
        "template": TEMPLATE,
        "dest": tmp_path / "report.html",
    }
    answer = run_module(WRITE, check=True, **given)
    says_what_it_returns(WRITE, answer, check=True)
    assert answer["changed"]
    assert list(tmp_path.glob("*.html")) == []
    answer = run_module(WRITE, **given)
    says_what_it_returns(WRITE, answer)
    page = tmp_path / "report.html"
    assert answer["bytes"] == page.stat().st_size
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert answer["verdict"] == "All is well: every database has a fresh, good backup"
    assert answer["states"] == [{"name": "db1", "state": "well", "why": []}]


@pytest.mark.parametrize("odd", ["{", "[]", "", None, "7"])
def test_an_answer_that_cannot_be_read_costs_nobody_the_page(run_module, facts, tmp_path, odd):
    servers = [{"name": "db2", "facts": odd}, {"name": "db1", "facts": facts}]
    answer = run_module(WRITE, servers=servers, template=TEMPLATE, dest=tmp_path / "report.html")
    assert [(one["name"], one["state"]) for one in answer["states"]] == [
        ("db2", "unasked"),
        ("db1", "well"),
    ]


@pytest.mark.parametrize("place", ["missing/report.html", "folder"])
def test_where_it_cannot_be_written_nothing_is_left_and_the_old_one_stays(
    run_module, tmp_path, place
):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "kept").touch()
    answer = run_module(
        WRITE, servers=[{"name": "db1", "error": "gone"}], template=TEMPLATE, dest=tmp_path / place
    )
    assert answer["failed"]
    assert answer["exit_status"] == 2
    assert "report_file" in answer["msg"]
    assert sorted(path.name for path in tmp_path.rglob("*") if "report" in path.name) == []


def test_a_template_that_is_not_there_is_a_sentence(run_module, tmp_path):
    answer = run_module(
        WRITE, servers=[], template=tmp_path / "none.j2", dest=tmp_path / "report.html"
    )
    assert "Failed to read the template" in answer["msg"]


def test_a_link_and_none_in_check_mode(run_module, says_what_it_returns, config, s3_client, bucket):
    answer = run_module(PUBLISH, check=True, config=config.path, page="<p>first")
    says_what_it_returns(PUBLISH, answer, check=True)
    assert "Contents" not in s3_client.list_objects_v2(Bucket=bucket)
    for page in ("<p>first", "<p>second"):
        answer = run_module(PUBLISH, config=config.path, page=page, hours=2)
        says_what_it_returns(PUBLISH, answer)
        assert (
            s3_client.get_object(Bucket=bucket, Key=answer["key"])["Body"].read().decode() == page
        )
    assert [item["Key"] for item in s3_client.list_objects_v2(Bucket=bucket)["Contents"]] == [
        "postgres-backup/report/report.html"
    ]


def test_a_link_of_more_than_a_week_is_refused(run_module, config):
    answer = run_module(PUBLISH, config=config.path, page="<p>", hours=169)
    assert (answer["exit_status"], "backup_report_link_hours" in answer["msg"]) == (2, True)
