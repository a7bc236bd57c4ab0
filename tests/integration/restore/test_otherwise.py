"""Databases that work, and whose dumps do not load as pg_dump wrote them: they come back."""

from __future__ import annotations

import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.job import Job
from postgres_backup.restore.database import restore_database
from tests.integration.restoring import as_superuser, databases_of, run_sql
from tests.integration.round_trip import dump_of

#: functions that name what is in app without saying so
PATH = """
CREATE SCHEMA app;
ALTER DATABASE {name} SET search_path TO app, public;
SET search_path TO app, public;
CREATE TABLE app.words (word text);
INSERT INTO app.words VALUES ('ab'), ('cd');
CREATE FUNCTION app.twice(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT t || t';
CREATE FUNCTION app.slug(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE SET search_path TO app
  AS 'BEGIN RETURN twice(t); END';
CREATE FUNCTION app.known(t text) RETURNS boolean LANGUAGE sql IMMUTABLE SET search_path TO app
  AS 'SELECT twice(t) IS NOT NULL';
CREATE DOMAIN app.word AS text CHECK (app.known(VALUE));
CREATE TABLE app.art (id int PRIMARY KEY, title app.word, CHECK (app.known(title)),
  twice text GENERATED ALWAYS AS (app.slug(title)) STORED);
INSERT INTO app.art (id, title) SELECT i, 'title ' || i FROM generate_series(1, 50) i;
CREATE INDEX art_slug ON app.art (app.slug(title)) WHERE app.known(title);
CREATE MATERIALIZED VIEW app.slugs AS SELECT id, app.slug(title) AS slug FROM app.art;
ALTER FUNCTION app.slug RESET search_path;
ALTER FUNCTION app.known RESET search_path;
"""
#: CHECKs that read a table which is loaded after theirs; inherited, in a partition, in a domain
CHECKS = """
CREATE SCHEMA shop;
CREATE TABLE shop.z_sorts (sort int PRIMARY KEY);
INSERT INTO shop.z_sorts VALUES (1), (2);
CREATE FUNCTION shop.known(s int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE
  AS 'BEGIN RETURN EXISTS (SELECT FROM shop.z_sorts WHERE sort = s); END';
CREATE TABLE shop.goods (sort int CONSTRAINT sorted CHECK (shop.known(sort)));
COMMENT ON CONSTRAINT sorted ON shop.goods IS 'its ''sort''';
CREATE TABLE shop.more (CONSTRAINT sorted CHECK (shop.known(sort))) INHERITS (shop.goods);
CREATE TABLE shop.parts (sort int, CHECK (shop.known(sort))) PARTITION BY LIST (sort);
CREATE TABLE shop.part_1 PARTITION OF shop.parts FOR VALUES IN (1);
CREATE DOMAIN shop.sort AS int CONSTRAINT there CHECK (shop.known(VALUE));
COMMENT ON CONSTRAINT there ON DOMAIN shop.sort IS 'there';
CREATE TABLE shop.listed (sort shop.sort);
INSERT INTO shop.goods VALUES (1); INSERT INTO shop.more VALUES (2);
INSERT INTO shop.parts VALUES (1); INSERT INTO shop.listed VALUES (2);
"""
#: rows that name an index, in a table to which another refers
NAMES = """
CREATE SCHEMA cat;
CREATE TABLE cat.named (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "of" regclass,
  several regclass[], said text, long text GENERATED ALWAYS AS (said || said) STORED);
INSERT INTO cat.named ("of", several, said) VALUES
  ('cat.named_pkey', '{{cat.named,cat.named_pkey}}',
  E'a\\tb\\n\\\\'), ('pg_class', NULL, NULL);
CREATE FUNCTION cat.never() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER never BEFORE INSERT ON cat.named FOR EACH ROW EXECUTE FUNCTION cat.never();
CREATE TABLE cat.a_user (id int REFERENCES cat.named);
INSERT INTO cat.a_user VALUES (1);
"""
#: extensions that only some servers have: the field's most usual cases
EXTENSIONS = """
CREATE EXTENSION unaccent;
CREATE EXTENSION earthdistance CASCADE;
CREATE FUNCTION public.plain(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE
  AS 'BEGIN RETURN lower(unaccent(t)); END';
CREATE TABLE public.place (name text, lat float, lng float);
INSERT INTO public.place SELECT 'Café ' || i, i, i FROM generate_series(1, 50) i;
CREATE INDEX place_plain ON public.place (public.plain(name));
CREATE INDEX place_earth ON public.place USING gist (ll_to_earth(lat, lng));
"""
#: what a dump does not hold
MADE = """
SELECT (SELECT string_agg(slug, ',' ORDER BY id) FROM app.slugs),
       (SELECT string_agg(twice, ',' ORDER BY id) FROM app.art),
       (SELECT string_agg(long, ',' ORDER BY id) FROM cat.named)"""
KINDS = {
    "path": (PATH, "DROP MATERIALIZED VIEW app.slugs", "SEARCH_PATH_USED"),
    "checks": (CHECKS, "DELETE FROM shop.goods", "CHECKS_LAST"),
    "names": (NAMES, "DELETE FROM cat.a_user", "NAMES_LAST"),
}


@pytest.mark.parametrize(
    ("postgres", "ways"),
    [(15, (True,)), (18, (False, True))],
    indirect=["postgres"],
    ids=["pg15", "pg18"],
)
def test_what_does_not_load_as_it_was_dumped(ways, database, config):
    """All kinds in one database: one load after the other fails, and is made otherwise. Since 17 an
    index is made without a search_path, whatever the session has.
    """
    server, name = database.server, database.name
    settings = as_superuser(config, server)
    for statements, _, _ in KINDS.values():
        run_sql(server, name, statements, name=name)
    if server.execute("SELECT FROM pg_available_extensions WHERE name = 'earthdistance'"):
        run_sql(server, name, EXTENSIONS)
    whole, made = dump_of(server, name), server.execute(MADE, name)
    create_backup(Job(settings))
    there = databases_of(server)
    for in_place in ways:
        for _, damage, _ in KINDS.values():
            run_sql(server, name, damage)
        result = restore_database(Job(settings), "latest", in_place_wanted=in_place)
        codes = {found["code"] for found in result["findings"]} - {"STATISTICS_NOT_GATHERED"}
        assert codes == {code for _, _, code in KINDS.values()}
        assert dump_of(server, name) == whole
        assert server.execute(MADE, name) == made
        there |= {result["kept_database"]} - {None}
        assert databases_of(server) == there
