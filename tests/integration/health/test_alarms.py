"""Messages that arrive: one when an alarm is raised, one when it is over, at real receivers, some
of which are bad ones.
"""

from __future__ import annotations

import itertools
import json
from datetime import timedelta
from pathlib import Path

import pytest

from postgres_backup.clock import utc_now
from postgres_backup.errors import PostgresBackupError, UsageError
from postgres_backup.health import alarms
from postgres_backup.health.alarm_kinds import TITLES, Alarm, key
from postgres_backup.machine.damage import troubles
from tests.damaged import CONTENTS, damage
from tests.integration import engine
from tests.services.receivers import HttpReceiver, MailReceiver

FAILED = key("BACKUP_FAILED", "crm")


@pytest.fixture
def told(new_config, s3, web, mail):
    """A config without anything behind it but people who want to know: a web address, a mailbox."""
    database = _Nowhere()
    return new_config(
        database,
        s3,
        "no-bucket",
        ALERT_URLS=f"json://127.0.0.1:{web.port}/a-secret-token {mail.url}",
    )


class _Nowhere:
    """A database that is not there: nothing here asks for it."""

    name, owner, password = "crm", "crm", "the-db-password"

    class server:
        host, port, major = "127.0.0.1", 1, 16


def alarm(
    code: str = "BACKUP_FAILED",
    database: str = "crm",
    message: str = "Failed to dump crm: pg_dump was killed",
    **more: str,
) -> Alarm:
    return Alarm(code, database, message, **more)


def heads(web: HttpReceiver) -> list[str]:
    return [request.json["title"] for request in web.requests]


# --- one message, and one when it is over ---


def test_one_message_while_it_lasts_and_one_when_it_is_over(told, web, mail):
    settings = told.settings
    good = {
        "crm": {
            "backup": "postgres-backup-2026-01-26_00-00-02.sql.gz",
            "taken_at": "2026-01-26T00:00:02Z",
            "bytes": 1,
        }
    }
    assert alarms.settle(settings, [FAILED], good=good) == []
    assert web.requests == []
    for _ in range(5):
        assert alarms.settle(settings, [FAILED], [alarm(hint="Look at its log")]) == []
    (first,) = web.requests
    assert first.json["title"] == "test-server: the backup of crm failed"
    for line in (
        "Server: test-server",
        "Why: Failed to dump crm: pg_dump was killed",
        "Last good backup of crm: postgres-backup-2026-01-26_00-00-02.sql.gz, ",
    ):
        assert line in first.json["message"]
    assert (
        "What to do: Look at its log; postgres-backup backup --database crm"
        in first.json["message"]
    )
    (letter,) = mail.mails
    assert letter["Subject"] == first.json["title"]
    assert "pg_dump was killed" in letter.get_body().get_content()
    for _ in range(3):
        assert alarms.settle(settings, [FAILED]) == []
    assert heads(web)[1:] == ["test-server: over: the backup of crm failed"]
    assert len(mail.mails) == 2
    alarms.settle(settings, [FAILED], [alarm()])
    assert len(web.requests) == 3  # it is a new one


@pytest.mark.parametrize("code", TITLES)
def test_every_alarm_arrives_by_web_and_by_mail_once_and_so_does_its_end(told, web, mail, code):
    database = "crm" if "{database}" in TITLES[code] else ""
    what = TITLES[code].format(database=database)
    expected = []
    for seen, headline in (([alarm(code, database)], what), ([], f"over: {what}")):
        expected.append(f"test-server: {headline}")
        for _ in range(3):
            assert alarms.settle(told.settings, [key(code, database)], seen) == []
        assert heads(web) == [letter["Subject"] for letter in mail.mails] == expected


def test_what_was_not_looked_at_is_not_over(told, web):
    alarms.settle(told.settings, [FAILED], [alarm()])
    alarms.settle(told.settings, [key("CLOCK_OFF")])
    assert [one["code"] for one in alarms.open_alarms(told.settings)] == ["BACKUP_FAILED"]
    assert len(web.requests) == 1


def test_the_alarm_of_a_database_that_left_the_settings_ends_with_a_word(told, web):
    alarms.settle(told.settings, [FAILED], [alarm()])
    settings = told.change(DB_NAME="other")
    web.status = 500
    assert alarms.settle(settings, [])
    assert alarms.open_alarms(settings) == []
    web.status, before = 200, len(web.requests)
    for _ in range(3):  # once, and by whoever looks next where it could not be delivered
        assert alarms.settle(settings, []) == []
    (request,) = web.requests[before:]
    assert request.json["title"] == "test-server: no longer watched: the backup of crm failed"
    assert "crm is no longer in the settings" in request.json["message"]
    assert "backup_databases" in request.json["message"]


def test_what_nobody_heard_of_leaves_the_settings_in_silence(told, web):
    web.status = 500
    alarms.settle(told.settings, [FAILED], [alarm()])
    web.status, before = 200, len(web.requests)
    settings = told.change(DB_NAME="other")
    alarms.settle(settings, [])
    assert (alarms.open_alarms(settings), web.requests[before:]) == ([], [])


def test_a_database_that_came_back_is_told_of_anew(told, web):
    alarms.settle(told.settings, [FAILED], [alarm()])
    alarms.settle(told.change(DB_NAME="other"), [])
    alarms.settle(told.change(DB_NAME="crm"), [FAILED], [alarm()])
    assert heads(web) == [
        "test-server: the backup of crm failed",
        "test-server: no longer watched: the backup of crm failed",
        "test-server: the backup of crm failed",
    ]


# --- several at once ---


def test_of_one_cause_only_the_first_is_told(told, web):
    settings = told.change(DB_NAMES="crm shop")
    alarms.settle(settings, [], [alarm(cause="store")])
    alarms.settle(
        settings,
        [],
        [
            alarm(database="shop", cause="store"),
            alarm("STORE_FAILS", "", "no answer", cause="store"),
        ],
    )
    assert heads(web) == ["test-server: the backup of crm failed"]
    # once what explained it is over, what is left is told
    alarms.settle(settings, [FAILED])
    assert heads(web)[1:] == [
        "test-server: over: the backup of crm failed",
        "test-server: the object storage cannot be used",
    ]


def test_a_refused_prune_never_hides_a_failed_backup(told, web):
    alarms.settle(
        told.settings, [], [alarm("PRUNE_FAILED", message="may not delete", cause="store")]
    )
    alarms.settle(told.settings, [], [alarm(cause="store")])
    assert len(web.requests) == 2


def test_a_failed_backup_explains_why_there_is_no_fresh_one_and_not_the_other_way_round(told, web):
    stale = alarm("BACKUP_STALE", message="30 hours old")
    alarms.settle(told.settings, [], [alarm()])
    alarms.settle(told.settings, [], [stale])
    assert len(web.requests) == 1
    alarms.settle(told.settings, [FAILED, stale.key])
    alarms.settle(told.settings, [], [stale])
    alarms.settle(told.settings, [], [alarm()])
    assert len(web.requests) == 4


# --- receivers that are bad ones ---


def test_an_address_that_is_down_is_told_later_and_only_that_one(told, web, mail):
    web.status = 500
    (finding,) = alarms.settle(told.settings, [FAILED], [alarm()])
    assert finding["code"] == "ALERT_NOT_DELIVERED"
    assert "number 1 (json)" in finding["message"]
    assert len(mail.mails) == 1
    web.status = 200
    assert alarms.settle(told.settings, [FAILED], [alarm()]) == []
    assert (len(mail.mails), heads(web)[-1]) == (1, "test-server: the backup of crm failed")


def test_an_end_that_could_not_be_told_is_told_later(told, web, mail):
    alarms.settle(told.settings, [FAILED], [alarm()])
    web.status = 503
    assert alarms.settle(told.settings, [FAILED])
    web.status = 200
    assert alarms.settle(told.settings, [FAILED]) == []
    assert alarms.settle(told.settings, [FAILED]) == []
    assert heads(web) == [
        "test-server: the backup of crm failed",
        *["test-server: over: the backup of crm failed"] * 2,
    ]  # the first of them was refused
    assert len(mail.mails) == 2


def test_what_nobody_heard_of_is_over_in_silence(told, web, mail):
    settings = told.change(ALERT_URLS=f"json://127.0.0.1:{web.port}/")
    web.status = 500
    alarms.settle(settings, [FAILED], [alarm()])
    web.status = 200
    alarms.settle(settings, [FAILED])
    assert len(web.requests) == 1


def test_a_silent_receiver_is_given_up(told, web, mail):
    web.silence = 60
    (finding,) = alarms.settle(told.settings, [FAILED], [alarm()])
    assert finding["code"] == "ALERT_NOT_DELIVERED"
    assert len(mail.mails) == 1


def test_what_is_no_address_is_said(told):
    settings = told.change(ALERT_URLS="telegramm://nonsense")
    (finding,) = alarms.settle(settings, [FAILED], [alarm()])
    assert "number 1 (telegramm)" in finding["message"]
    assert "does not know" in finding["message"]


# --- the state ---


def test_a_full_disk_is_remembered_all_the_same(told, web, tiny_disk):
    """The state keeps room of its own, so that a full disk is told of once and not every hour."""
    settings = told.change(STATE_DIR=str(tiny_disk))
    alarms.settle(settings, [])
    filler = Path(tiny_disk) / "filler"
    with open(filler, "wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        file.writelines(itertools.repeat(b"x" * 4096))
    for _ in range(3):
        assert alarms.settle(settings, [FAILED], [alarm()]) == []
    assert len(web.requests) == 1


def test_a_state_that_cannot_be_written_is_said_and_the_message_goes_out(told, web):
    Path(told.settings.state_dir).write_text("a file")
    for _ in (1, 2):
        (finding,) = alarms.settle(told.settings, [FAILED], [alarm()])
        assert finding["code"] == "STATE_NOT_WRITTEN"
        assert len(web.requests) == 1, "this process at least knows that it was told"
    for number in (3, 5):
        looked = engine.run(told.path, "watch")  # no such bucket, no state
        assert looked.returncode == 4, looked.stderr
        assert len(web.requests) == number, "nobody remembers that it was told"


@pytest.mark.parametrize("content", CONTENTS)
def test_whatever_lies_in_its_place_the_message_goes_out_once(told, web, content):
    damage(told.settings, "alarms.json", content)
    assert alarms.open_alarms(told.settings) == []
    assert [one["code"] for one in troubles(told.settings)] == ["STATE_DAMAGED"]
    damage(told.settings, "alarms.json", content)
    (finding,) = alarms.settle(told.settings, [FAILED], [alarm()])
    assert finding["code"] == "STATE_DAMAGED"
    assert alarms.settle(told.settings, [FAILED], [alarm()]) == []
    assert len(web.requests) == 1


def test_a_state_that_a_power_loss_cut_is_begun_anew(told, web):
    alarms.settle(told.settings, [FAILED], [alarm()])
    path = Path(told.settings.state_dir, "alarms.json")
    path.write_bytes(path.read_bytes()[:100])
    (finding,) = alarms.settle(told.settings, [FAILED], [alarm()])
    assert finding["code"] == "STATE_DAMAGED"
    assert len(web.requests) == 2


# --- secrets ---


def test_no_secret_in_a_message_or_in_the_state(told, web, mail):
    settings = told.settings
    said = (
        f"Failed with {settings.db_password} and {settings.s3_secret_key} "
        f"at json://127.0.0.1:{web.port}/a-secret-token"
    )
    alarms.settle(settings, [FAILED], [alarm(message=said, hint=said)])
    web.status = 500
    findings = alarms.settle(settings, [FAILED, "x"], [alarm("RESTORE_FAILED", message=said)])
    state = Path(settings.state_dir, "alarms.json").read_text()
    for text in (
        state,
        json.dumps(findings),
        *(request.body for request in web.requests),
        *(str(letter) for letter in mail.mails),
    ):
        for secret in (settings.db_password, settings.s3_secret_key, "a-secret-token"):
            assert secret not in text


# --- the test message ---


def test_a_test_reaches_everybody(told, web, mail):
    done = engine.run(told.path, "alert-test")
    assert (done.returncode, done.stdout) == (0, "told: json\ntold: mailto\n"), done.stderr
    assert heads(web) == ["test-server: a test of the alarms of postgres-backup"]
    assert "Nothing is wrong" in mail.mails[0].get_body().get_content()
    again = engine.answer(engine.run(told.path, "alert-test", "--only-new", "--json"))
    assert (again["changed"], again["sent"], len(web.requests)) == (False, 0, 1)
    with MailReceiver() as another:
        told.change(ALERT_URLS=f"{told.values['ALERT_URLS']} {another.url}")
        planned = engine.answer(
            engine.run(told.path, "alert-test", "--only-new", "--check", "--json")
        )
        assert (planned["changed"], planned["addresses"], another.mails) == (True, ["mailto"], [])
        assert (
            engine.answer(engine.run(told.path, "alert-test", "--only-new", "--json"))["sent"] == 1
        )
        assert len(another.mails) == 1
    assert len(web.requests) == 1


def test_a_test_that_fails_says_which_address_and_never_what_it_is(told, web):
    web.status = 403
    done = engine.run(told.path, "alert-test", "--json")
    text = engine.failed_well(
        done, 1, "Alert address number 1 (json) could not be told", "appriseit.com"
    )
    assert "a-secret-token" not in text
    web.status = 200
    assert (
        engine.answer(engine.run(told.path, "alert-test", "--only-new", "--json"))["sent"] == 1
    )  # the mailbox has had its test


def test_nobody_to_tell_is_said(told):
    settings = told.change(ALERT_URLS=None)
    with pytest.raises(UsageError, match="nobody to tell") as caught:
        alarms.send_test(settings)
    assert "backup_alert_urls" in caught.value.hint
    assert alarms.settle(settings, [FAILED], [alarm()]) == []
    assert [one["code"] for one in alarms.open_alarms(settings)] == ["BACKUP_FAILED"]


def test_every_alarm_has_words_and_something_to_type(told, web):
    for code in TITLES:
        alarms.settle(told.settings, [], [alarm(code, hint="type this")])
    assert len(set(heads(web))) == len(web.requests)
    for request in web.requests:
        assert "{" not in request.json["title"] + request.json["message"]
        assert "What to do: type this" in request.json["message"]


def test_ages_are_told_as_people_tell_them(told, web):
    taken = utc_now() - timedelta(hours=30)
    good = {"crm": {"backup": "b", "taken_at": f"{taken:%Y-%m-%dT%H:%M:%SZ}"}}
    alarms.settle(told.settings, [], [alarm()], good)
    assert "Last good backup of crm: b, 30.0 h old" in web.requests[0].json["message"]


def test_a_failed_test_is_an_error_of_the_package(told, web):
    web.status = 500
    with pytest.raises(PostgresBackupError) as caught:
        alarms.send_test(told.settings)
    assert [finding["code"] for finding in caught.value.findings] == ["ALERT_NOT_DELIVERED"]
