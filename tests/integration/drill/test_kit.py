"""The server kit in a drill: does it hold what a lost server needs, and does the key that is kept
elsewhere open it?
"""

from __future__ import annotations

import subprocess

import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.backup.kit import create_kit
from postgres_backup.drill.database import drill_database
from postgres_backup.drill.kit import look_at_kit
from postgres_backup.health import rebuild
from postgres_backup.job import Job
from tests.integration import engine


@pytest.fixture
def app(tmp_path):
    """The folder of an application, with a compose file, its secrets, and a file that is no
    concern of a rebuild.
    """
    folder = tmp_path / "app"
    folder.mkdir()
    for name in ("compose.yml", ".env", "notes.txt"):
        (folder / name).write_text(f"{name}\n")
    return folder


def outcome(settings, identities=(), **more) -> dict[str, str]:
    """The message of each code; nothing where it was not looked at."""
    looked = look_at_kit(Job(settings, identities=identities), 0.0, **more)
    assert all(found["check"] == "kit" for found in looked.findings)
    assert looked.made or not looked.findings
    return {found["code"]: found["message"] for found in looked.findings}


def keys() -> tuple[str, str]:
    """An age key: private and public."""
    made = subprocess.run(["age-keygen"], capture_output=True, text=True, check=True).stdout
    public = next(line for line in made.splitlines() if "public key" in line).split()[-1]
    return made.splitlines()[-1], public


def test_what_the_application_needs_is_in_it(config, app):
    settings = config.change(KIT_PLAIN="true")
    assert not look_at_kit(Job(settings), 0.0).made  # nothing says that it needs one
    settings = config.change()
    rebuild.remember(settings, [f"{app}/compose.yml", f"{app}/.env"])
    [lacks] = look_at_kit(Job(settings), 0.0).findings
    assert f"{app}/.env; {app}/compose.yml" in lacks["message"]
    assert lacks["level"] == "warning"  # nobody has asked for a kit
    settings = config.change(BACKUP_PATHS=f"'{app}/compose.yml'")
    kit = create_kit(Job(settings))["kit"]
    assert look_at_kit(Job(settings), 0.0).findings[0]["level"] == "failed"
    told = outcome(settings)["KIT_LACKS"]
    assert told.startswith(f"{kit} does not hold {app}/.env;")
    settings = config.change(BACKUP_PATHS=f"'{app}'")
    create_kit(Job(settings))
    looked = look_at_kit(Job(settings), 0.0)
    assert (looked.findings, looked.made) == ([], True)
    assert looked.seconds >= 0
    # what was named since it was saved
    settings = config.change(BACKUP_PATHS=f"'{app}' '/srv/uploads'")
    assert "does not hold /srv/uploads" in outcome(settings)["KIT_LACKS"]
    # what the settings name and no member of it is: it was not there when it was saved
    (app / ".env").unlink()
    settings = config.change(BACKUP_PATHS=f"'{app}'")
    create_kit(Job(settings))
    (app / ".env").write_text("SECRET=new\n")
    assert f"does not hold {app}/.env" in outcome(settings)["KIT_LACKS"]
    assert outcome(settings, read=False) == {}


def test_what_comes_another_way_need_not_be_in_it(config, app):
    settings = config.change(KIT_PLAIN="true", BACKUP_PATHS=f"'{app}/.env'")
    create_kit(Job(settings))
    rebuild.remember(settings, [f"{app}/.env", f"{app}/cache/pages"])
    assert f"does not hold {app}/cache/pages" in outcome(settings)["KIT_LACKS"]
    settings = config.change(BACKUP_PATHS_ELSEWHERE=f"'{app}/cache'")
    assert outcome(settings) == {}


def test_one_that_is_not_what_it_was(config, app, s3_client, bucket):
    settings = config.change(KIT_PLAIN="true", BACKUP_PATHS=f"'{app}'")
    kit = create_kit(Job(settings))
    body = s3_client.get_object(Bucket=bucket, Key=kit["key"])["Body"].read()
    for spoilt, code in ((body[:-30], "COMPRESSION_TRUNCATED"), (body[:40], "COMPRESSION")):
        s3_client.put_object(Bucket=bucket, Key=kit["key"], Body=spoilt)
        told = outcome(settings)
        assert told, code
        assert "NOT_CHECKED" not in told
    s3_client.put_object(Bucket=bucket, Key=kit["key"], Body=body)
    assert outcome(settings) == {}
    manifest = f"{kit['key'].split('.')[0]}.json"
    described = s3_client.get_object(Bucket=bucket, Key=manifest)["Body"].read()
    s3_client.put_object(Bucket=bucket, Key=manifest, Body=described.replace(b"app", b"apq"))
    assert set(outcome(settings)) == {"SIGNATURE_WRONG"}


def test_the_key_that_is_kept_elsewhere(config, database, app, s3_client, bucket):
    """It opens the newest backup and the kit; another opens neither, and none is not known."""
    database.execute("CREATE TABLE users AS SELECT n AS id FROM generate_series(1, 10) n")
    database.execute(f'ALTER TABLE users OWNER TO "{database.owner}"')
    (private, public), (other, _) = keys(), keys()
    settings = config.change(AGE_RECIPIENTS=public, BACKUP_PATHS=f"'{app}'")
    create_backup(Job(settings))
    kit = create_kit(Job(settings))["kit"]
    outcomes = {}
    for name, identities in (("right", (private,)), ("wrong", (other,)), ("none", ())):
        result = drill_database(Job(settings, identities=identities))
        checks = {one["check"]: one["outcome"] for one in result["checks"]}
        codes = {one["code"] for one in result["findings"]} & {"KEY_WRONG", "KEY_NOT_GIVEN"}
        outcomes[name] = (result["passed"], checks["kit"], codes)
    assert outcomes == {
        "right": (True, "passed", set()),
        "wrong": (False, "failed", {"KEY_WRONG"}),
        "none": (False, "unchecked", {"KEY_NOT_GIVEN"}),
    }
    # of a kit alone that the key does not open, the backup is good, and the drill is not
    settings = config.change(AGE_RECIPIENTS=keys()[1])
    create_kit(Job(settings))
    result = drill_database(Job(settings, identities=(private,)))
    assert not result["passed"]
    assert [f["check"] for f in result["findings"] if f["code"] == "KEY_WRONG"] == ["kit"]
    assert result["rows"] == 10
    for path in config.path.parent.rglob("*"):  # the key is nowhere on this disk
        if path.is_file():
            assert private.encode() not in path.read_bytes(), path
    assert kit in {key.rpartition("/")[2] for key in engine.keys(s3_client, bucket)}
