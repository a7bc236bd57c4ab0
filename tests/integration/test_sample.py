"""The sample database is the same for the same seed on every major, and shows when it is harmed."""

from demo import sample
from tests.services import samples


def test_the_same_seed_gives_the_same_rows_on_every_major(postgres_server):
    found = []
    for major in (15, 16, 18):
        server = postgres_server(major)
        server.execute("CREATE DATABASE sample_twin")
        try:
            samples.load(server.dsn("sample_twin"), seed=7, scale=0.01)
            found.append(sample.fingerprint(server.dsn("sample_twin")))
        finally:
            server.execute("DROP DATABASE sample_twin WITH (FORCE)")
    assert found[0] == found[1] == found[2]
    assert found[0]["public.messages"][0] == 550


def test_the_seed_and_the_scale_matter(new_database):
    found = []
    for seed, scale in ((1, 0.01), (2, 0.01), (1, 0.02)):
        made = new_database()
        samples.load(made.server.dsn(made.name), seed, scale, made.role_prefix)
        found.append(sample.fingerprint(made.server.dsn(made.name)))
    assert found[0]["public.users"] != found[1]["public.users"]
    assert found[0]["public.users"][0] == found[1]["public.users"][0] < found[2]["public.users"][0]


def test_everything_belongs_to_the_owner_and_a_harm_shows(sample_database):
    query = "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class"
    query += " WHERE relnamespace IN ('public'::regnamespace, 'school'::regnamespace)"
    owners = sample_database.execute(query)
    assert owners == [(sample_database.owner,)]
    dsn = sample_database.dsn()
    before = sample.fingerprint(dsn)
    assert sample.fingerprint(dsn) == before
    sample_database.execute("UPDATE public.users SET active = NOT active WHERE id = 3")
    after = sample.fingerprint(dsn)
    assert {name for name in before if before[name] != after[name]} == {"public.users"}
    sample.destroy(dsn)
    harmed = sample.fingerprint(dsn)
    assert "public.messages" not in harmed
    assert harmed["billing.payments_2025"] == (0, 0)
    assert harmed["school.students"] != before["school.students"]
