"""A week and its end by a clock that is moved: nightly dumps and every second together, on a
machine with a kernel of its own, its store too. No alarm, nothing left, and the way back.

Steps of one story; each brings the ones before it.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta, timezone
from pathlib import Path

import pytest

from tests.servers import host, virtual_machine
from tests.servers.controller import Controller
from tests.servers.store_inside import StoreInside
from tests.servers.test_pitr import CA_FILE, LOG, Site, new_site
from tests.servers.virtual_machine import VirtualMachine
from tests.services.receivers import HttpReceiver

# what is slow beside other tests would meet timeouts of its own here
pytestmark = [pytest.mark.gameday, pytest.mark.alone, pytest.mark.timeout(3600)]

CONFIG = "/etc/postgres-backup/backup-config.env"
LOOK = "/var/lib/postgres-backup-pitr/look.json"
STEPS = Path(virtual_machine.__file__).with_name("python") / "steps.py"
RETENTION = 1
RPO = timedelta(seconds=300)
#: a full backup of the cluster is due a week after the last, but for half a day, see ``pitr.take``
FULL_DUE, DAY = timedelta(days=6, hours=12), timedelta(days=1)
#: UTC; the cluster's backup has a time by the server's name. The timer's hourly look is due at each
#: of them
NIGHT, DRILLS = time(0, 0), time(12, 54)
#: writes at each even minute at which cron wakes
APPLICATION = "*/2 * * * * postgres psql -qXd crm -c 'INSERT INTO ticks DEFAULT VALUES'\n"
CLUSTER = "/var/lib/postgresql/17/main"
#: what is not ours, and grows by itself
NOT_OURS = ("/srv", "/var/log/journal", "/var/backups", "/var/lib/systemd", "/var/lib/logrotate")
NOT_OURS += (CLUSTER,)
#: a folder of the bucket
PROOFS = "postgres-backup/proofs"
FILES = ["find", "/", "/tmp", "-xdev"]  # /tmp lies in memory
FILES += [word for path in NOT_OURS for word in ("-path", path, "-prune", "-o")]
FILES += ["-type", "f", "-printf", "%s %h\\n"]
#: of PostgreSQL's log on its disk, whatever is archived: ``min_wal_size``, and a piece in hand
LOG_BYTES = (80 + 2 * 16) * 1024**2
#: seconds: what cron calls every two minutes may be at work at any time
LONG = 300
#: the logs of these days take less, and a piece of PostgreSQL's log that was left takes more
LEFT_BYTES = 4 * 1024**2
#: of a target
FORM = """'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'"""
#: the key by standard input: in an argument list it would be seen
KEYS = """
. "$1"
printf 'user = "%s:%s"\\n' "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" |
    curl --silent --show-error --fail --cacert "$2" --config - \\
    --aws-sigv4 "aws:amz:$S3_REGION:s3" "$S3_ENDPOINT_URL/$S3_BUCKET_NAME?list-type=2"
"""


@dataclasses.dataclass(frozen=True)
class Evening:
    """How it is at the end of a day.

    :ivar told: titles of the messages so far.
    :ivar status: exit status and words of ``status``.
    :ivar labels: of the backups of the cluster.
    :ivar keys: what lies in the bucket.
    :ivar files: folder -> how many files are in it, and their bytes; but what is :data:`NOT_OURS`.
    :ivar log: bytes of PostgreSQL's log, ``beside``: what lies beside its data.
    :ivar hanging: what of ours runs, and has for long.
    """

    date: date
    told: list[str]
    status: tuple[int, str]
    labels: list[str]
    keys: list[str]
    files: Mapping[str, tuple[int, int]]
    log: int
    beside: list[str]
    databases: list[str]
    hanging: list[str]

    @property
    def dumps(self) -> list[str]:
        names = (re.fullmatch(r"postgres-backup/(postgres-backup-[^/]+)", key) for key in self.keys)
        return sorted(name[1] for name in names if name)

    @property
    def folders(self) -> dict[str, int]:
        """Folder of the dumps' part of the bucket -> how many objects are in it; but the journal,
        which is kept for longer than this.
        """
        found = [key.rpartition("/")[0] for key in self.keys if key.startswith("postgres-backup/")]
        return {one: found.count(one) for one in sorted({*found}) if not one.endswith("/journal")}

    def archived(self) -> list[str]:
        """The pieces of the log that the bucket has."""
        names = (re.search(r"/archive/main/.*/([0-9A-F]{24})-[^/]+$", key) for key in self.keys)
        return sorted(name[1] for name in names if name)

    def archived_backups(self) -> list[str]:
        """The backups of the cluster of which the bucket has anything."""
        names = (re.search(r"/backup/main/(\d{8}-[^/]+)/", key) for key in self.keys)
        return sorted({name[1] for name in names if name})


@dataclasses.dataclass
class Week:
    """The machine, and what was seen of it.

    :ivar drills: the day of both.
    """

    site: Site
    machine: VirtualMachine
    web: HttpReceiver
    drills: date
    evenings: list[Evening] = dataclasses.field(default_factory=list)

    @property
    def told(self) -> list[str]:
        return [request.json["title"] for request in self.web.requests]

    def go(self, *moments: datetime, archived: bool = True) -> None:
        """On to each of these, and until all that is due then has ended.

        :param archived: and what waits for its way into the archive is there.
        """
        options = [] if archived else ["--unarchived"]
        seconds = [str(moment.timestamp()) for moment in moments]
        self.machine.inside("python3", "/root/steps.py", *options, *seconds, timeout=1800)

    def keys(self) -> list[str]:
        """What lies in the bucket, asked for by its clock: one of another would be refused."""
        told = self.machine.inside("sh", "-ec", KEYS, "sh", CONFIG, CA_FILE).stdout
        assert "<IsTruncated>false</IsTruncated>" in told, told[:500]
        return re.findall("<Key>([^<]+)</Key>", told)

    def files(self) -> dict[str, tuple[int, int]]:
        found: dict[str, tuple[int, int]] = {}
        for line in self.machine.inside(*FILES).stdout.splitlines():
            size, _, folder = line.partition(" ")
            count, before = found.get(folder, (0, 0))
            found[folder] = count + 1, before + int(size)
        return found

    def evening(self) -> Evening:
        """Look around."""
        status = self.site.program("status", config="", check=False)
        running = self.machine.inside("ps", "-eo", "etimes,args", "--no-headers").stdout
        ours = re.findall(r"(?m)^ *(\d+) (.*(?:postgres-backup|pgbackrest).*)$", running)
        databases = "SELECT datname FROM pg_database ORDER BY 1"
        return Evening(
            self.machine.clock().date(),
            self.told,
            (status.returncode, status.stdout),
            [one["label"] for one in self.site.info()["backup"]],
            self.keys(),
            self.files(),
            int(self.machine.inside("du", "-sb", LOG).stdout.split()[0]),
            self.site.folders(),
            self.machine.sql(databases).split(),
            [words for seconds, words in ours if int(seconds) > LONG],
        )

    @property
    def early(self) -> Evening:
        """The first by which all that comes again has been, and what a drill has restored is kept
        for that alone.
        """
        since = self.drills + (RETENTION + 1) * DAY
        return next(evening for evening in self.evenings if evening.date > since)

    @property
    def late(self) -> Evening:
        """The last that is like that one: kept for one day, a dump is read every other night (see
        ``nightly/rotation``), and is kept longer for its proof.
        """
        begins = self.early.date
        alike = [one for one in self.evenings if (one.date - begins).days % 2 == 0]
        return alike[-1]

    def minutes(self) -> Iterator[datetime]:
        """The next ones, by its clock."""
        now = self.machine.clock().replace(second=0, microsecond=100_000)
        return (now + timedelta(minutes=number) for number in itertools.count(1))


@pytest.fixture(scope="module")
def week(lab, new_module_server, tmp_path_factory) -> Iterator[Week]:
    required = os.environ.get("REQUIRE_ALL") == "1"
    if required:
        host.install_programs(virtual_machine.PROGRAMS)
    if found := virtual_machine.obstacles():
        stop = pytest.fail if required else pytest.skip
        stop(f"no server with a clock of its own can be had here: {'; '.join(found)}")
    folder = tmp_path_factory.mktemp("week")
    server = new_module_server("trixie", layer="ready", name="week")
    store = StoreInside(server, folder / "store").start()
    with HttpReceiver(lab.address) as web:
        drills = datetime.now(timezone.utc).date() + 2 * DAY
        site = new_site(
            server,
            Controller(lab, folder / "controller"),
            store,
            backup_retention_days=RETENTION,
            backup_drill_schedule=f"{DRILLS:%M %H} {drills.day} {drills.month} *",
            backup_alert_urls=[f"json://{lab.address}:{web.port}/told"],
        )
        server.sql("CREATE TABLE ticks (at timestamptz NOT NULL DEFAULT clock_timestamp())", "crm")
        server.sql("ALTER TABLE ticks OWNER TO crm", "crm")
        server.sql("INSERT INTO ticks SELECT now() FROM generate_series(1, 20000)", "crm")
        site.controller.run("setup.yml", "-e", "backup_pitr_allow_restart=true")
        web.requests.clear()  # a test of the alarms
        server.write("/etc/cron.d/application", APPLICATION)
        server.write("/root/steps.py", STEPS.read_text())
        # what asks the network for something each day
        server.inside("systemctl", "mask", "--quiet", "apt-daily.timer", "apt-daily-upgrade.timer")
        server.power_off()
        site.server = store.server = machine = VirtualMachine(server)
        machine.boot()
        yield Week(site, machine, web, drills)
        machine.crash()


@pytest.fixture(scope="module")
def lived(week) -> Week:
    """From tomorrow on, until a second full backup of the cluster has let the first one go."""
    tomorrow = week.machine.clock().date() + DAY
    cron = week.machine.inside("cat", "/etc/cron.d/postgres-backup-pitr").stdout
    minute, hour = map(int, re.search(r"(?m)^(\d+) (\d+) \* \* \* .* pitr-backup", cron).groups())
    [first] = week.site.info()["backup"]
    began = datetime.fromtimestamp(first["timestamp"]["stop"], timezone.utc)
    due = None
    for number in itertools.count():
        day = tomorrow + number * DAY
        times = [NIGHT, time(hour, minute), *([DRILLS] if day == week.drills else [])]
        moments = [datetime.combine(day, at, timezone.utc) for at in times]
        # a tenth of a second behind it, for cron must not come too early
        week.go(*(moment + timedelta(milliseconds=100) for moment in moments))
        week.go(next(week.minutes()))  # who tells what was seen comes a minute later
        week.evenings.append(week.evening())
        backup = datetime.combine(day, time(hour, minute), timezone.utc)
        if due is None and backup - began > FULL_DUE:
            due = day
        if due and day == due + (RETENTION + 1) * DAY:
            return week
    raise AssertionError("time has an end")


def fulls(labels: list[str]) -> list[str]:
    return [label for label in labels if label.endswith("F")]


def time_of(label: str) -> datetime:
    """Of a backup of the cluster, by the server's clock and in its zone."""
    return datetime.strptime(label.rpartition("_")[2][:15], "%Y%m%d-%H%M%S")


def test_every_night_comes_by_itself_and_nobody_is_told_of_anything(lived):
    assert len(lived.evenings) > 7
    for evening in lived.evenings:
        assert (evening.told, evening.status[0], evening.hanging) == ([], 0, []), evening
        assert evening.dumps[-1].startswith(f"postgres-backup-{evening.date}_00-")


def test_dumps_are_kept_as_long_as_they_should_and_no_longer(lived):
    for evening in lived.evenings[RETENTION:]:
        nights = [(evening.date - number * DAY).isoformat() for number in range(RETENTION + 1)]
        kept = {name.removeprefix("postgres-backup-").partition("_")[0] for name in evening.dumps}
        # of the last of these it depends on seconds
        assert {*nights[:RETENTION]} <= kept
        # the newest that was read, and the newest that was restored, are none of them
        assert len(kept - {*nights}) <= 2
        assert len(evening.dumps) == len(kept)


def test_the_cluster_is_backed_up_each_day_in_full_each_week_and_the_old_ones_go(lived):
    labels = [evening.labels for evening in lived.evenings]
    for before, after, evening in zip(labels, labels[1:], lived.evenings[1:], strict=False):
        [new] = [one for one in after if one not in before]
        assert time_of(new).date() == evening.date
        age = time_of(new) - time_of(fulls(before)[-1])
        assert new.endswith("F") == (age > FULL_DUE), (new, before)
    first, second = fulls(labels[0]), fulls(labels[-1])
    assert (len(first), len(second)) == (1, 1)
    assert first != second
    # the first goes with all that hangs on it, when the second is as old as the retention
    gone = next(evening for evening in lived.evenings if first[0] not in evening.labels)
    assert RETENTION * DAY <= gone.date - time_of(second[0]).date() <= (RETENTION + 1) * DAY
    assert all(one.startswith(second[0]) for one in gone.labels)


def test_nothing_is_left_in_the_bucket(lived):
    early, late = lived.early, lived.late
    assert early.date < late.date
    assert late.folders.keys() == early.folders.keys()
    for evening in lived.evenings:
        # of each the newest two, and the one that was restored; and signatures
        assert evening.folders.get(PROOFS, 0) <= len(evening.dumps) * 3 * 2
    more = {one: (early.folders[one], n) for one, n in late.folders.items() if one != PROOFS}
    assert all(after <= before for before, after in more.values()), more
    for evening in lived.evenings:
        assert evening.archived_backups() == sorted(evening.labels)
    [full] = [one for one in lived.site.info()["backup"] if one["type"] == "full"]
    assert lived.evenings[-1].archived()[0] == full["archive"]["start"]
    assert lived.evenings[-1].archived()[0] > early.archived()[0]


def test_nothing_is_left_on_the_disk(lived):
    early, late = lived.early, lived.late
    nothing = (0, 0)
    more = {
        folder: (early.files.get(folder, nothing), now)
        for folder, now in late.files.items()
        if now[0] > early.files.get(folder, nothing)[0] and not folder.startswith("/var/log")
    }
    assert not more
    before, after = (sum(size for _, size in one.files.values()) for one in (early, late))
    print(f"{after - before} bytes more in {late.date - early.date}, logs included")
    assert after - before < LEFT_BYTES
    for evening in lived.evenings:
        assert evening.log <= LOG_BYTES
        assert evening.beside == early.beside
        assert evening.databases == ["crm", "postgres", "template0", "template1"]


def test_both_drills_were_made_and_passed(lived):
    known = json.loads(lived.site.program("status", "--json", config="", check=False).stdout)
    look = json.loads(lived.machine.inside("cat", LOOK).stdout)
    for drill in known["databases"]["crm"]["drill"], look["drill"]:
        assert drill["passed"]
        assert drill["at"].startswith(f"{lived.drills}T{DRILLS:%H:%M}"), drill


def test_an_archive_that_is_away_is_heard_of_in_time_and_so_is_its_end(lived):
    lived.site.store.stop()
    lived.site.switch()
    stopped = lived.machine.clock()
    for minute in lived.minutes():
        assert minute - stopped <= RPO + timedelta(minutes=5), lived.told
        lived.go(minute, archived=False)
        if lived.told:
            break
    assert lived.told == ["week: not every second is kept"]
    away = lived.site.program("status", config="", check=False)
    assert (away.returncode, "nothing answers at" in away.stdout + away.stderr) == (1, True), away
    lived.site.store.resume()
    for minute in itertools.islice(lived.minutes(), 4):
        lived.go(minute)
    assert lived.told[1:] == ["week: over: not every second is kept"]
    assert lived.site.program("status", config="", check=False).returncode == 0


def test_a_second_of_days_ago_comes_back(lived):
    """Between two rows that the application has written."""
    found = "SELECT max(at) + interval '1 second' FROM ticks WHERE at < now() - interval '26 hours'"
    moment = lived.machine.sql(f"SELECT to_char(({found}) AT TIME ZONE 'UTC', {FORM})", "crm")
    count = f"SELECT count(*) FROM ticks WHERE at <= '{moment}'"
    then, now = (
        int(lived.machine.sql(one, "crm")) for one in (count, "SELECT count(*) FROM ticks")
    )
    assert 20_000 < then < now
    lived.site.recover(f"target_time={moment}", "keep=true")
    assert lived.site.recovered("SELECT count(*) FROM ticks") == str(then)
    assert lived.site.recovered(count) == str(then)
    lived.site.recover("remove=true")
    assert lived.site.folders() == lived.evenings[0].beside
