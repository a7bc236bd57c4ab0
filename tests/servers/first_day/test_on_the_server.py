"""What a setup leaves on a server: the config, the log, and what stock tools make of them."""

from __future__ import annotations

from tests.servers.first_day.sites import CONFIG, LOG, LONG

pytestmark = LONG


def test_what_lies_on_the_server(site):
    server = site.server
    assert server.inside("stat", "-c", "%a %U %G", CONFIG).stdout.split() == [
        "600",
        "postgres-backup",
        "postgres-backup",
    ]
    assert (
        server.inside("runuser", "-u", "nobody", "--", "cat", CONFIG, check=False).returncode != 0
    )
    sourced = f'. {CONFIG} && printf "%s\\n" "$DB_PASSWORD" "$AWS_SECRET_ACCESS_KEY"'
    sourced += ' "$AWS_REQUEST_CHECKSUM_CALCULATION" "$RETENTION_DAYS" "$SERVER_NAME"'
    expected = [site.password, site.store.secret_key, "when_required", "7", server.name]
    for shell in ("sh", "bash"):
        assert (
            server.inside(
                "runuser", "-u", "postgres-backup", "--", shell, "-ec", sourced
            ).stdout.splitlines()
            == expected
        )
    # nothing is locked away from the user who runs it, nor lent to others
    writable = server.inside(
        "find",
        "/opt/postgres-backup",
        "/usr/local/bin/postgres-backup",
        "/etc/cron.d/postgres-backup",
        "-perm",
        "/022",
        "-not",
        "-type",
        "l",
    )
    assert writable.stdout == ""


def test_stock_tools_list_and_restore(site):
    """The contract's line after sourcing the config, and the two stock-tool lines that restore
    without us.
    """
    place = '--endpoint-url "$S3_ENDPOINT_URL" --region "$S3_REGION"'
    line = f'. {CONFIG}; aws s3 ls "s3://${{S3_BUCKET_NAME}}/postgres-backup/" {place} | tail -5'
    listed = site.server.inside("bash", "-ec", f"set -o pipefail; {line}").stdout
    [backup] = site.backups()
    assert listed.count("postgres-backup-") == 1
    assert backup in listed
    site.server.sql("CREATE DATABASE by_hand OWNER crm")
    copy = f'aws s3 cp "s3://${{S3_BUCKET_NAME}}/postgres-backup/{backup}" - {place}'
    load = 'PGPASSWORD="$DB_PASSWORD" psql -X -q -v ON_ERROR_STOP=1'
    load += ' -h "$DB_HOST" -U "$DB_USER" -d by_hand'
    site.server.inside("bash", "-ec", f"set -o pipefail; . {CONFIG}; {copy} | gunzip | {load}")
    assert site.server.sql("SELECT count(*) FROM users", "by_hand") == "1000"
    assert site.server.sql('SELECT count(*) FROM "The Orders"', "by_hand") == "500"
    site.server.sql("DROP DATABASE by_hand")


def test_log_rotation(site):
    checked = site.server.inside("logrotate", "-d", "/etc/logrotate.conf")
    assert "error" not in checked.stderr.lower()
    assert f"rotating pattern: {LOG}" in checked.stderr
    site.server.inside("sh", "-c", f"echo line >> {LOG}")
    site.server.inside("logrotate", "-f", "/etc/logrotate.d/postgres-backup")
    assert site.server.inside("stat", "-c", "%a %U %G", LOG).stdout.split() == [
        "640",
        "postgres-backup",
        "adm",
    ]
    assert site.server.inside("cat", f"{LOG}.1").stdout.endswith("line\n")
