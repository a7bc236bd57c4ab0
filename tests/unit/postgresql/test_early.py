"""Which statements leave rows as they are: those that pg_dump writes behind rows."""

from __future__ import annotations

import pytest

from postgres_backup.postgresql.early import leaves_rows


@pytest.mark.parametrize(
    "statement",
    [
        b"SET default_tablespace = '';",
        b"SELECT pg_catalog.setval('public.users_id_seq', 8, true);",
        b"SELECT pg_catalog.lowrite(0, '\\x01');",
        b"CREATE UNIQUE INDEX i ON public.t USING btree (a);",
        b"CREATE TRIGGER t AFTER INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION public.f();",
        b"CREATE OR REPLACE VIEW public.v AS\n SELECT 1;",
        b"ALTER TABLE ONLY public.t\n    ADD CONSTRAINT k PRIMARY KEY (a);",
        b'ALTER TABLE ONLY "Odd schema"."T x"\n    ADD CONSTRAINT k CHECK ((a > 0));',
        b"ALTER TABLE public.t CLUSTER ON i;",
        b"ALTER TABLE ONLY public.t REPLICA IDENTITY USING INDEX i;",
        b"ALTER TABLE public.t ENABLE ROW LEVEL SECURITY;",
        b"ALTER TABLE ONLY public.p ATTACH PARTITION public.c FOR VALUES IN (1);",
        b"ALTER INDEX public.p ATTACH PARTITION public.c;",
        b"ALTER PUBLICATION p ADD TABLE ONLY public.t;",
        b"ALTER EVENT TRIGGER e OWNER TO bob;",
        b"ALTER MATERIALIZED VIEW public.m OWNER TO bob;",
        b"REFRESH MATERIALIZED VIEW public.m;",
        b"COMMENT ON INDEX public.i IS 'UPDATE';",
        b"GRANT SELECT ON TABLE public.t TO bob;",
    ],
)
def test_what_pg_dump_writes_behind_rows_leaves_them(statement):
    assert leaves_rows(statement)


@pytest.mark.parametrize(
    "statement",
    [
        b"INSERT INTO public.t VALUES (1);",
        b"UPDATE public.t SET a = 1;",
        b"DELETE FROM public.t;",
        b"TRUNCATE public.t;",
        b"DO $$BEGIN END$$;",
        b"SELECT public.f();",
        b"ALTER TABLE public.t ADD COLUMN b integer DEFAULT 3;",
        b"ALTER TABLE public.t DROP COLUMN a;",
        b"ALTER TABLE public.t ALTER COLUMN a TYPE text;",
        b"ALTER TABLE public.t RENAME COLUMN a TO b;",
        b"ALTER TABLE public.t\n    DROP COLUMN a, ADD CONSTRAINT k CHECK (true);",
        b"ALTER TYPE public.mood RENAME VALUE 'sad' TO 'glad';",
        b"ALTER EXTENSION hstore UPDATE;",
        b"CREATE EXTENSION hstore;",
        b"CREATE OR REPLACE FUNCTION public.out(public.t) RETURNS cstring AS 'x' LANGUAGE c;",
        b"CLUSTER public.t USING i;",
    ],
)
def test_what_may_change_them_does_not(statement):
    assert not leaves_rows(statement)
