"""Each server signs with a key of its own, which all servers know; a new one takes over."""

from __future__ import annotations

from postgres_backup.signing import judge, signers
from tests.servers.first_day.sites import LONG, PREFIX, Day, Site
from tests.servers.server import Server

pytestmark = LONG

KEY, TRUSTED = "/etc/postgres-backup/signing.key", "/etc/postgres-backup/trusted_signers"


def _known(day: Day, server: Server) -> list[str]:
    """The public keys of a server that the controller has, in base64, newest first."""
    return [line.split()[1] for line in (day.keys / f"{server.name}.pub").read_text().splitlines()]


def _who_signed(day: Day, backup: str, site: Site, asked: Site) -> str:
    """What the list on one server makes of a backup of another."""
    key = f"{PREFIX}manifests/{backup.removesuffix('.sql.gz')}.json"
    data, signature = (
        site.client.get_object(Bucket=site.bucket, Key=one)["Body"].read()
        for one in (key, f"{key}.sig")
    )
    lines = signers.parse(asked.server.inside("cat", TRUSTED).stdout, TRUSTED)
    believed = signers.Signers(asked.server.name, lines=lines)
    return judge.judge(data, signature, site.server.name, believed).kind


def test_each_server_signs_and_all_servers_know_its_key(day, first_setup):
    for site in day.sites:
        server = site.server
        owner = ["postgres-backup", "postgres-backup"]
        assert server.inside("stat", "-c", "%a %U %G", KEY).stdout.split() == ["600", *owner]
        stat = server.inside("stat", "-c", "%a %U %G", TRUSTED).stdout.split()
        assert stat == ["644", "root", "root"]
        assert _known(day, server) == [server.inside("cat", f"{KEY}.pub").stdout.split()[1]]
        [backup] = site.backups()
        for asked in day.sites:
            assert _who_signed(day, backup, site, asked) == "trusted"
        # the private half stays where it is
        private = server.inside("cat", KEY).stdout.split("\n")[1:-2]
        assert not [line for line in private if any(line in play.output for play in day.plays)]
    assert len(list(day.keys.iterdir())) == len(day.sites)


def test_a_new_key_takes_over_and_the_old_one_stays_good(day, first_setup):
    """And a run after that has nothing to do: see the schedule's."""
    before = {site.server.name: _known(day, site.server) for site in day.sites}
    play = day.run("-e", "rotate_signing_key=true", "--diff")
    changed = {site.server.name: 3 for site in day.sites}  # the key, its public half, the list
    assert {name: counts["changed"] for name, counts in play.recap.items()} == changed, play.output
    for site in day.sites:
        server, old = site.server, before[site.server.name]
        new = server.inside("cat", f"{KEY}.pub").stdout.split()[1]
        assert _known(day, server) == [new, *old]
        assert new not in old
        [backup] = site.backups()
        assert [_who_signed(day, backup, site, asked) for asked in day.sites] == ["trusted"] * 2
        assert site.program("restore", "latest", "--check").returncode == 0
