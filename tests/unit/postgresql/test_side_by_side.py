"""Which statements may be done at once with others, and how much of a server a load takes."""

from __future__ import annotations

import dataclasses

from postgres_backup.postgresql import effort
from postgres_backup.postgresql.effort import Effort, effort_of
from postgres_backup.postgresql.side_by_side import table_of
from postgres_backup.settings import Settings


def test_what_builds_an_index_is_told_by_its_table():
    for text, table in (
        (b"CREATE INDEX i ON public.t USING btree (a);", b"public.t"),
        (b"CREATE UNIQUE INDEX i ON ONLY public.t USING btree (a);", b"public.t"),
        (b'CREATE INDEX "i ON x" ON "S ""q"""."t; ON" USING gin (a);', b'"S ""q"""."t; ON"'),
        (b"ALTER TABLE ONLY public.t\n    ADD CONSTRAINT k PRIMARY KEY (a);", b"public.t"),
        (b"ALTER TABLE public.t\n    ADD CONSTRAINT k UNIQUE NULLS NOT DISTINCT (a);", b"public.t"),
        (b"ALTER TABLE ONLY t\n    ADD CONSTRAINT k EXCLUDE USING gist (a WITH &&);", b"t"),
        (b"ALTER TABLE ONLY public.t\n    ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES u(a);", b""),
        (b"ALTER TABLE ONLY public.t\n    ADD CONSTRAINT k CHECK ((a > 0));", b""),
        (b"ALTER TABLE public.t CLUSTER ON i;", b""),
        (b"ALTER TABLE ONLY public.t REPLICA IDENTITY USING INDEX i;", b""),
        (b"ALTER INDEX public.p ATTACH PARTITION public.c;", b""),
        (b"CREATE INDEX CONCURRENTLY i ON public.t USING btree (a);", b""),
        (b"CREATE INDEX ON public.t USING btree (a);", b""),
        (b"COMMENT ON INDEX public.i IS 'CREATE INDEX i ON public.t USING btree (a)';", b""),
        (b"CREATE INDEX i ON public.t USING btree (a) WHERE b = '" + b"x" * 70_000 + b"';", b""),
    ):
        assert table_of(text) == table, text


def test_a_load_takes_a_part_of_what_is_free(monkeypatch):
    settings = Settings("s", ("crm",), "u", "http://x", "bucket", "k", "s")
    monkeypatch.setattr(effort.os, "cpu_count", lambda: 4)
    for free_gb, host, jobs, expected in (
        (16, "localhost", 0, Effort(4, 4, 512 << 10)),
        (16, "/var/run/postgresql", 2, Effort(2, 4, 1 << 20)),
        (1, "127.0.0.1", 0, Effort(4, 4, 32 << 10)),
        (16, "db.example.org", 0, Effort(4, 4, 64 << 10)),
        (16, "localhost", 1, Effort(1, 4, 1 << 20)),
        (0, "localhost", 0, Effort(4, 4, 0)),
    ):
        monkeypatch.setattr(effort, "_free_kb", lambda free=free_gb: free << 20)
        asked = dataclasses.replace(settings, db_host=host, restore_jobs=jobs)
        assert effort_of(asked) == expected
    contained = dataclasses.replace(settings, db_host="localhost", db_container="db")
    assert effort_of(contained).memory_kb == 64 << 10
    monkeypatch.setattr(effort.os, "cpu_count", lambda: 64)
    assert effort_of(settings).sessions == 8


def test_helpers_are_there_where_tables_are_few():
    four = Effort(sessions=4, processors=4)
    assert [four.helpers(tables) for tables in (1, 2, 3, 4, 5000)] == [3, 1, 1, 0, 0]
    assert Effort(sessions=2, processors=2).helpers(1) == 1
