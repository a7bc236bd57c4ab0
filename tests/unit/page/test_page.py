"""The page: what is said of each server, drawn small, and nothing in a name that breaks it."""

from __future__ import annotations

import html.parser
import json
import re
import shlex
from datetime import date, datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import fleet
from postgres_backup.health.fleet import line as verdict_line
from postgres_backup.health.fleet import of_servers
from postgres_backup.page import page

NOW = datetime(2026, 1, 27, 9, 2, tzinfo=timezone.utc)
TEMPLATE = (Path(__file__).resolve().parents[3] / "playbooks/templates/report.html.j2").read_text()
ODD = 'we "love" <b>\n</script><script>alert(1)</script> {{ 7 * 7 }} \u202e& \x1b[31m'
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Reader(html.parser.HTMLParser):
    """What a browser sees: tags, attributes by tag, and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def ids(self) -> list[str]:
        return [attributes["id"] for _, attributes in self.tags if "id" in attributes]


def render(*servers: dict, now: datetime = NOW) -> str:
    return page.render(servers, now, TEMPLATE)


def words(text: str) -> str:
    return re.sub(r"\s+", " ", Reader(text[text.index("<body") :]).text)


def line(*servers: dict) -> str:
    return verdict_line(of_servers(servers))


@pytest.mark.parametrize("kind", fleet.KINDS)
def test_every_kind_of_server_says_what_it_is(kind):
    said = {
        "well": "All is well: every database has a fresh, good backup",
        "stale": "db4 needs you: stale",
        "failed": "db4 needs you: last backup failed",
        "first day": "All is well: every database has a fresh, good backup",
        "no backup": "db4 needs you: no good backup",
        "damaged": "db4 needs you: damaged backup",
        "alarm": "db4 needs you: not well",
        "unreachable": "The backups are fresh; db4 is worth a look",
        "unasked": "db4 needs you: could not be asked",
    }[kind]
    server = fleet.server(kind, 4, NOW)
    text = render(server)
    assert line(server) == said
    assert said in words(text)
    assert f"<title>{said}</title>" in text
    assert "nav" not in {
        tag for tag, _ in Reader(text).tags
    }  # one server needs no table of contents


def test_what_is_shown_of_a_well_server():
    server = fleet.server("well", 3, NOW, name="db1", keep=7)
    one = server["facts"]["databases"][0]
    said = words(render(server))
    newest = one["backups"][0]
    assert f"ansible-playbook restore.yml -e backup={newest['backup']} --limit db1" in said
    for expected in (
        "9.0 h ago", "27 Jan 2026 00:00 UTC", f"{newest['rows']:,}", "7 backups", "in 15.0 h",
        "not older than 7 days", "The next prune takes nothing", "public.order_items", "Restores",
        "failed: There is no room for a second copy", one["restores"][0]["backup"],
        one["replaced"][0]["name"],
        "No alarm is open", "USD a month",
    ):  # fmt: skip
        assert expected in said, expected
    assert all(backup["backup"] in said for backup in one["backups"])
    assert "drill" not in said.lower()  # none happened


def test_a_drill_that_happened_is_shown():
    server = fleet.server("well", 3, NOW)
    drill = {
        "at": "2026-01-20T03:00:00Z",
        "ok": True,
        "backup": "postgres-backup-2026-01-20_00-00-00.sql.gz",
        "seconds": 4.0,
        "tables": [],
        "rows": 12_345,
        "phases": {"loading": 3.0},
        "restore_seconds": 2.0,
        "findings": [{"code": "SEQUENCE_BEHIND", "message": ODD}],
    }
    failed = drill | {"ok": False, "reason": "ROWS_DIFFER: 3 rows", "rows": None, "findings": []}
    database = server["facts"]["databases"][0]
    database |= {"drills": [drill, failed | {"restore_seconds": None}]}
    database["rpo"] = {
        "hours": 26.5,
        "since": "2026-01-20T00:00:00Z",
        "until": "2026-01-21T02:30:00Z",
    }
    page_ = render(server)
    said = words(page_)
    assert "id=drills" in page_
    assert 'href="#drills"' in page_
    assert "20 Jan 2026 03:00 UTC: passed postgres-backup-2026-01-20_00-00-00.sql.gz" in said
    for expected in (
        f"{server['name']}, database",
        "12,345",
        "SEQUENCE_BEHIND",
        "loading 3.0 s",
        "<b>",
    ):
        assert expected in said, expected
    assert "failed: ROWS_DIFFER: 3 rows" in said
    assert "longest time between two backups in 90 days: 26.5 h, from 20 Jan" in said


def test_a_rehearsed_rebuild_is_shown():
    server = fleet.server("well", 3, NOW)
    rehearsal = {
        "at": "2026-01-20T03:00:00Z",
        "host": "spare",
        "seconds": 90.0,
        "phases": {"restore": 12.0},
        "reason": "",
    }
    failed = rehearsal | {"reason": ODD, "phases": {}}
    server["facts"]["rehearsals"] = [rehearsal, failed]
    said = words(render(server))
    assert "20 Jan 2026 03:00 UTC on spare: rebuilt in 1 min 30 s, and removed again" in said
    assert "restore 12.0 s" in said
    assert "20 Jan 2026 03:00 UTC on spare: failed: " in said


def test_what_the_next_prune_takes_is_named():
    server = fleet.server("well", 3, NOW, keep=90, days=30)
    going = server["facts"]["databases"][0]["backups"][20]
    going |= {"keep": False, "reason": "older than 20 days"}
    server["facts"]["databases"][0]["going"] = [going["backup"]]
    said = words(render(server))
    assert f"What goes next {going['backup']}" in said
    assert "Goes next: older than 20 days" in said


def test_costs_without_a_price_are_sizes_only():
    said = words(render(fleet.server("well", 3, NOW, price_gb_month=0.0, price_requests_1000=0.0)))
    assert "Storage now" in said
    assert "a month" not in said.replace("Requests a month", "").replace(
        "Uploaded a month", ""
    ).replace("Read again a month", "")


def test_the_worst_comes_first_and_nobody_is_left_out():
    servers = [
        fleet.server(kind, number, NOW, name=f"db-{number}")
        for number, kind in enumerate(fleet.KINDS)
    ]
    seen = of_servers(servers)
    assert [one["state"] for one in seen] == [
        "none",
        "stale",
        "failed",
        "bad",
        "unwell",
        "unasked",
        "look",
        "well",
        "well",
    ]
    assert (
        line(*servers) == "6 of 9 servers need you: db-4 (no good backup), db-1 (stale), "
        "db-2 (last backup failed) and 3 more"
    )
    text = render(*servers)
    reader = Reader(text)
    links = [
        attributes["href"].removeprefix("#")
        for tag, attributes in reader.tags
        if tag == "a" and attributes["href"].startswith("#s")
    ]
    assert len(links) == 9
    assert set(links) <= set(reader.ids())
    opened = [
        attributes
        for tag, attributes in reader.tags
        if tag == "details" and attributes.get("class") == "server" and "open" in attributes
    ]
    assert len(opened) == 6  # those that need somebody
    assert "No route to host" in words(text)


def test_an_alarm_is_told_with_what_it_is_about_and_only_once():
    server = fleet.server("failed", 4, NOW)
    (why,) = of_servers([server])[0]["why"]
    assert why["alarm"]["code"] == "BACKUP_FAILED"
    assert "(alarm BACKUP_FAILED, open since 27 Jan 2026 08:00 UTC)" in words(render(server))


def test_no_server_at_all():
    assert "There is no server in the inventory" in words(render())


def test_odd_names_break_nothing_and_put_nothing_in():
    server = fleet.server("failed", 4, NOW, name=ODD, databases=(ODD, "x" * 63))
    server["facts"]["databases"][0]["tables"][0]["table"] = ODD
    server["facts"]["databases"][0]["restores"][0] |= {"ok": False, "reason": ODD, "tables": [ODD]}
    server["facts"]["databases"][0]["replaced"] = [
        {"name": ODD, "by": ODD, "bytes": None, "replaced_at": "2026-01-20T03:00:00Z"}
    ]
    server["facts"]["costs"]["currency"] = ODD
    text = render(server, {"name": ODD + "2", "error": ODD})
    reader = Reader(text)
    assert "script" not in {tag for tag, _ in reader.tags}
    assert "{{ 7 * 7 }}" in words(text)
    assert not set(re.findall(r"[\u202e\x1b]", text)), (
        "letters that turn a line around, or colour a terminal"
    )
    assert all(not name.startswith("on") for _, attributes in reader.tags for name in attributes)
    assert len(reader.ids()) == len(set(reader.ids()))


@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40))
def test_the_line_to_type_names_exactly_that_server_and_database_to_a_shell(server, database):
    typed = shlex.split(page.restore_line(server, database, True, "latest"))
    assert typed[:4] == ["ansible-playbook", "restore.yml", "-e", "backup=latest"]
    assert typed[-2:] == ["--limit", server]
    given = typed[5]
    assert (
        json.loads(given)["database"] if given.startswith("{") else given.removeprefix("database=")
    ) == database


def test_nothing_comes_from_elsewhere():
    text = render(*[fleet.server(kind, 1, NOW) for kind in fleet.KINDS])
    tags = Reader(text).tags
    assert {"script", "img", "iframe", "object", "embed", "base", "form"} & {
        tag for tag, _ in tags
    } == set()
    for tag, attributes in tags:
        for name in ("href", "src", "action", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, attributes)
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in text


def test_three_hundred_servers_fit_into_five_megabytes(capsys):
    # a page shares nothing between servers, so that ten may be alike; making them is most of it
    servers = [
        {**one, "name": f"{one['name']}{more}"}
        for one in fleet.fleet(30, NOW)
        for more in range(10)
    ]
    kept = [len(one["facts"]["databases"][0]["backups"]) for one in servers if "facts" in one]
    assert sum(kept) / len(kept) > 85
    size = len(render(*servers).encode())
    with capsys.disabled():
        print(
            f"\n300 servers, {sum(kept)} backups: {size / 1e6:.2f} MB, "
            f"{size / sum(kept):.0f} bytes a backup"
        )
    assert size < 5_000_000


def test_what_a_day_was():
    facts = fleet.server("first day", 1, NOW)["facts"]
    one = facts["databases"][0]
    at = "2026-01-{:02}T00:00:05Z".format
    one["backups"] = [
        {"taken_at": at(day), "state": state}
        for day, state in ((26, "good"), (25, "bad"), (24, "unproven"))
    ]
    one["past"] = [{"taken_at": at(20)}, {"taken_at": at(22)}]
    one["failures"] = [
        {"at": at(26), "what": "backup"},
        {"at": at(23), "what": "backup"},
        {"at": at(21), "what": "prune"},
    ]
    days = page._days(one, facts, NOW)
    said = {day.day: state for day, state in days.items() if day >= date(2026, 1, 19)}
    assert said == {
        19: "later",
        20: "gone",
        21: "none",
        22: "gone",
        23: "failed",
        24: "unproven",
        25: "failed",
        26: "good",
        27: "none",
    }
    assert (
        page._days(one, facts | {"schedule_time": "23:00"}, NOW)[NOW.date()] == "later"
    )  # it is still to come
    assert len(days) == 90
    one["failures"].append({"at": at(26).replace("00:00", "09:00"), "what": "backup"})
    assert page._days(one, facts, NOW)[date(2026, 1, 26)] == "failed", "no green on a later failure"


def test_a_server_in_trouble_says_whom_to_call_and_what_was_changed():
    calm, bad = (fleet.server(kind, number, NOW) for number, kind in ((1, "well"), (2, "failed")))
    assert "Whom to call" not in render(bad)  # an earlier version told neither
    told = {
        "contact": ODD,
        "changed_settings": [
            {"at": "2026-01-26T10:00:00Z", "changes": ["RETENTION_DAYS: 7 -> 30", f"A: {ODD}"]}
        ],
    }
    text = render(bad | {"facts": bad["facts"] | told})
    assert "Whom to call: we" in words(text)
    assert "RETENTION_DAYS: 7 -> 30" in words(text)
    assert "<script>" not in text
    calm_text = render(calm | {"facts": calm["facts"] | told})
    assert "Whom to call" not in calm_text
    assert "Settings that changed" in calm_text


def test_the_red_box_says_what_to_type_and_costs_at_which_prices_they_are():
    told = words(render(fleet.server("failed", 4, NOW)))
    assert "What to do, on the server: postgres-backup backup --database crm" in told
    assert "At 0.02 USD for a GB a month (backup_price_gb_month) and 0.005 USD for 1,000" in told
    server = fleet.server("failed", 4, NOW)
    server["facts"]["alarms"] = []
    # a server of an earlier version tells neither
    for why in server["facts"]["why"]:
        del why["todo"]
    del server["facts"]["prices"]
    told = words(render(server))
    assert "What to do" not in told
    assert "In money where backup_price_gb_month, backup_price_requests_1000" in told
