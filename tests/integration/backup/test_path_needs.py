"""What a restore will not find by an empty search_path is known when the backup is taken."""

from __future__ import annotations

from postgres_backup.backup import path_needs
from postgres_backup.backup.database import create_backup
from postgres_backup.health import status
from postgres_backup.job import Job
from postgres_backup.restore.database import restore_database
from tests.integration import engine
from tests.integration.restoring import as_superuser, run_sql

CASES = """
CREATE TABLE words (word text);
CREATE FUNCTION twice(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT t || t';
CREATE FUNCTION slug(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE
  AS 'BEGIN RETURN twice(t); END';
CREATE FUNCTION named(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE SET search_path = public
  AS 'BEGIN RETURN twice(t); END';
CREATE FUNCTION slow(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE
  AS 'BEGIN PERFORM pg_sleep(100); RETURN t; END';
CREATE DOMAIN word AS text CHECK (slug(VALUE) <> '');
CREATE TABLE art (id int PRIMARY KEY, title word, "the column" text
  GENERATED ALWAYS AS (slug('x')) STORED, CONSTRAINT good CHECK (named(title) <> ''));
INSERT INTO art (id, title) SELECT i, NULLIF('title ' || i, 'title 1') FROM generate_series(1, 9) i;
ALTER TABLE art ADD CONSTRAINT bad CHECK (slug(title) <> '');
CREATE INDEX art_slug ON art (slug(title)) WHERE id > 0;
CREATE VIEW between_them AS SELECT slug(title) AS slug FROM art;
CREATE MATERIALIZED VIEW slugs AS SELECT max(slug) AS most FROM between_them;
CREATE MATERIALIZED VIEW unfilled AS SELECT slug(title) FROM art WITH NO DATA;
CREATE MATERIALIZED VIEW waits AS SELECT slow(NULL) WITH NO DATA;
"""
NEEDY = {
    "CHECK bad on public.art",
    'column public.art."the column"',
    "domain public.word",
    "index public.art_slug",
    "materialized view public.slugs",
}


def test_it_is_in_manifest_and_status_and_asked_once(
    database, config, s3_client, bucket, monkeypatch
):
    server, name = database.server, database.name
    settings = as_superuser(config, server)
    run_sql(server, name, CASES)
    taken = create_backup(Job(settings))
    found = {
        n["object"]: n for n in engine.manifest_of(s3_client, bucket, taken)["needs_search_path"]
    }
    assert set(found) == NEEDY
    assert found["index public.art_slug"] == {
        "object": "index public.art_slug",
        "said": "function twice(text) does not exist",
        "mend": 'ALTER FUNCTION public.slug(text) SET search_path TO "$user", public;',
    }
    codes = [found["code"] for found in taken["findings"]]
    assert codes == ["RESTORE_NEEDS_SEARCH_PATH"] * 5
    told = [f for f in status.status(settings)["findings"] if f["code"] == codes[0]]
    assert [f["message"] for f in told] == [f["message"] for f in taken["findings"]]

    plan = restore_database(Job(settings, check=True), "latest")
    assert [f["message"] for f in plan["findings"]] == [f["message"] for f in told]

    loads = []
    from postgres_backup.restore import side_database

    loaded = side_database._load
    monkeypatch.setattr(side_database, "_load", lambda *of: (loads.append(of[-1]), loaded(*of))[1])
    result = restore_database(Job(settings), "latest")
    assert "SEARCH_PATH_USED" in {found["code"] for found in result["findings"]}
    assert len(loads) == 1

    asked = []
    monkeypatch.setattr(path_needs, "_try", lambda *of: asked.append(of[1].object))
    assert [f["code"] for f in create_backup(Job(settings))["findings"]] == codes
    assert asked == []
    run_sql(server, name, found["index public.art_slug"]["mend"])
    assert create_backup(Job(settings))["findings"] == []
    assert asked == []
    run_sql(server, name, "ALTER FUNCTION slug RESET search_path", "ALTER FUNCTION slug COST 5")
    run_sql(server, name, "ALTER FUNCTION twice RENAME TO twofold")
    create_backup(Job(settings))
    assert set(asked) == NEEDY


def test_what_cannot_be_asked_is_said(database, config, monkeypatch):
    """Nobody's function runs with more rights than its table's owner has, or for long."""
    server, name, other = database.server, database.name, f"{database.owner}_other"
    make = "CREATE OR REPLACE FUNCTION public.{} RETURNS int LANGUAGE {} AS '{}'"
    run_sql(
        server,
        name,
        "CREATE ROLE {other}",
        "GRANT {other} TO {owner}",
        make.format("escapes()", "plpgsql", "BEGIN SET ROLE postgres; RETURN 1; END"),
        make.format("waits()", "plpgsql", "BEGIN PERFORM pg_sleep(100); RETURN 1; END"),
        make.format("f(i int)", "sql IMMUTABLE", "SELECT 1"),
        "CREATE TABLE t AS SELECT 1 AS i",
        "CREATE TABLE u AS SELECT 2 AS i",
        "CREATE INDEX t_i ON t (public.f(i))",
        "CREATE INDEX u_i ON u (public.f(i))",
        make.format(
            "f(i int)",
            "sql IMMUTABLE",
            "SELECT CASE WHEN i = 1 THEN public.escapes() ELSE public.waits() END",
        ),
        "ALTER TABLE t OWNER TO {other}",
        "ALTER TABLE u OWNER TO {owner}",
        owner=database.owner,
        other=other,
    )
    monkeypatch.setattr(path_needs, "_LONGEST", 100)
    late = "index public.u_i: canceling statement due to statement timeout"
    for settings, why in (
        (config.settings, f"index public.t_i runs with the rights of {other}"),
        (
            as_superuser(config, server),
            'index public.t_i: cannot set parameter "role" within security-definer function',
        ),
    ):
        found = {one["code"]: one for one in create_backup(Job(settings))["findings"]}
        told = found.pop("SEARCH_PATH_NOT_ASKED")["message"]
        assert why in told
        assert late in told
        # whose role it is has a finding of its own, where that is not everybody's
        assert found.keys() <= {"RESTORE_NEEDS_RIGHTS"}
