"""What is worth knowing although (or because) something happened: findings, each by a name that
never changes.

Every code is here, with what it means and what to do; the tables of findings in
docs/troubleshooting.md are these texts (tests/unit/test_findings.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict


class _Finding(TypedDict):
    code: str
    message: str


class Finding(_Finding, total=False):
    """One finding, as it stands in results, errors, the journal and the state.

    ``code`` is one of :data:`CODES`; ``message`` is one sentence, which may name what the code
    cannot.
    """

    #: whose it is, where a result tells of several databases
    database: str
    #: of a bad backup: there is no newer good one
    newest: bool


#: heading of the documents -> the codes below it, those that mean the same together, and what to do
GROUPS: dict[str, dict[tuple[str, ...], str]] = {
    "A backup is not what it should be": {
        ("SIZE_DIFFERS",): ("The object is larger or smaller than its manifest says."),
        ("MANIFEST_OF_ANOTHER",): (
            "The manifest under its name is for another backup: somebody copied or renamed objects."
        ),
        ("MANIFEST_DAMAGED",): (
            "The manifest cannot be read. The backup itself may be whole: `postgres-backup "
            "verify FILE` finds out, and writes a new manifest."
        ),
        ("MANIFEST_UNREADABLE",): (
            "The store does not hand the manifest out, or it is larger than any manifest. "
            "Nothing is known of that backup, so it neither counts nor goes. Ask who else has a "
            "key to the bucket."
        ),
        ("PROOF_UNREADABLE",): (
            "A proof beside a backup cannot be read, or is none. It does not count; the backup is "
            "as good as before. Delete it, and ask who else has a key to the bucket."
        ),
        ("MANIFEST_NEWER",): (
            "A newer version of this program wrote the manifest. Upgrade this one."
        ),
        ("OBJECT_SIZE",): ("The store delivers another size than it listed."),
        ("OBJECT_ALTERED",): (
            "The object's SHA-256 is not the manifest's, or that of one of its pieces or of the "
            "saved roles: changed or swapped after the upload. Of an altered piece nothing was "
            "used. Ask who else has a key to the bucket."
        ),
        ("OBJECT_CHANGED",): ("It was replaced while it was being read. Start again."),
        (
            "COMPRESSION_TRUNCATED",
            "COMPRESSION_CORRUPT",
            "TRAILING_GARBAGE",
        ): ("The compressed stream is cut, damaged, or something follows its end."),
        ("ENCRYPTION_CORRUPT",): ("The encrypted stream is cut, damaged, or not encrypted at all."),
        ("TABLES_REWRITTEN",): (
            "A table was emptied or rewritten (TRUNCATE, some ALTER TABLE) between the snapshot "
            "and the moment when `pg_dump` had its lock on it, twice in one backup: its rows may "
            "be missing. Such a backup does not count as good. Take another: "
            "`postgres-backup backup`. It is restored only when it is asked for by its name."
        ),
        ("ARCHIVE_DAMAGED",): (
            "`pg_restore` could not read the custom or tar archive to its end: it is cut, "
            "damaged, or of a newer `pg_dump`; the message has its word."
        ),
        ("HEADER_MISSING",): (
            "It does not begin as a dump does; or it holds nothing but the message of a `pg_dump` "
            "that failed."
        ),
        (
            "TRAILER_MISSING",
            "TRAILER_CUT",
            "TRAILER_NOT_LAST",
        ): (
            "The last lines of a dump are missing, cut, or something follows them. Typical "
            "of a dump whose `pg_dump` died."
        ),
        (
            "COPY_UNFINISHED",
            "STATEMENT_UNFINISHED",
        ): ("It ends within the rows of a table, or within a statement."),
        (
            "TABLE_MISSING",
            "TABLE_UNEXPECTED",
            "ROWS_DIFFER",
            "DATA_DIFFERS",
        ): ("What was read is not what the manifest says, table by table."),
        ("MORE",): ("How many more tables differ; ten are named."),
    },
    "A dump that is refused": {
        ("META_COMMAND",): (
            "It holds a command for `psql` that `pg_dump` does not write, such as one that "
            "runs a program (CVE-2025-8714)."
        ),
        ("FOREIGN_STATEMENT",): (
            "It holds a statement about the whole server (roles, tablespaces), or copies "
            "from or to a file."
        ),
        ("TRANSACTION_STATEMENT",): (
            "It ends or divides the transaction that it is loaded in, as `pg_dump` never does: "
            "ROLLBACK, SAVEPOINT, a BEGIN without its COMMIT."
        ),
        ("NUL_BYTE",): ("Its text holds a NUL, behind which programs stop reading."),
        ("STATEMENT_TOO_LARGE",): ("One statement of it is longer than 64 MiB."),
        ("READS_DIFFERENTLY",): (
            "It changes `client_encoding` or `standard_conforming_strings` in a way that "
            "`pg_dump` does not, so that the server would read on otherwise than the guard."
        ),
        ("CLUSTER_DUMP",): ("It was made by `pg_dumpall`: it holds a whole server."),
        ("SEVERAL_DATABASES",): ("It changes to a second database."),
        ("SEVERAL_DUMPS",): (
            "It holds two dumps or more, one behind the other (`>>` in the script). The message "
            "says how to divide them."
        ),
        ("ROWS_ALONE",): (
            "It has rows and makes no table for them (`pg_dump --data-only`): no database comes "
            "out of it alone."
        ),
        ("LINES_BEFORE_DUMP",): (
            "Messages or a progress bar stand before the dump (`2>&1` in the script). The message "
            "says how to take them out."
        ),
        ("MESSAGES_IN_DUMP",): (
            "`pg_dump --verbose` wrote its messages into the dump (`2>&1` in the script), among "
            "the rows too."
        ),
        ("OTHER_FORMAT",): (
            "It is none of the forms that `pg_dump` writes: packed or encrypted by a program that "
            "this one does not know, text in UTF-16, the dump of another database. The message "
            "says which, and what to do."
        ),
        (
            "COPY_HEADER",
            "STATEMENT_TOO_LONG",
            "META_COMMAND_TOO_LONG",
        ): ("It is written as `pg_dump` never writes, so what follows cannot be judged."),
    },
    "Whom to believe": {
        ("UNSIGNED",): (
            "Nobody has signed it: it is older than this server's key, or a script, or a stranger "
            "made it. Nothing of it is used until you say so: `postgres-backup adopt --yes` "
            "vouches for what is yours, for good; `--trust-unsigned` (`-e trust_unsigned=true`) "
            "trusts it this once."
        ),
        ("SIGNED_BY_STRANGER",): (
            "It is well signed, by a key that this server does not trust for the one that it "
            "names. The message has the key's fingerprint. A server of yours? Its public key "
            "belongs into `inventory/keys/`, then `ansible-playbook setup.yml`; an old key of a "
            "lost machine, likewise. Else treat it as unsigned."
        ),
        ("SIGNATURE_WRONG",): (
            "Its signature was made of other bytes: it was altered, or put under the name of "
            "another server or database. It is never used, never pruned, and no flag helps. Take "
            "another backup, and ask who else has a key to the bucket."
        ),
        ("MANIFEST_REPLACED",): (
            "In the place of the manifest that this server has signed lies another, an older one "
            "too. It is never used, and no flag helps. Ask who else has a key to the bucket."
        ),
        ("SIGNED_BACKUP_GONE",): (
            "The newest backup that this server has signed is gone from the bucket, or its "
            "manifest is gone or another, and the retention did not do it: somebody did, or the "
            "bucket went back to an earlier day. Take a new one (`postgres-backup backup`), and "
            "ask who else has a key to the bucket."
        ),
        ("BACKUP_VANISHED",): (
            "Backups that this server has signed are gone from the bucket, or their manifests are, "
            "and no prune of this server did that: an older script whose retention deletes by age, "
            "a lifecycle rule of the store, a person. What is left of them (manifest, proofs) "
            "stays while it is told, three days, so that whoever can undelete them has whole ones. "
            "Where the store or another machine is meant to delete, set "
            "`backup_prune_nightly: false`, and nothing is told."
        ),
        ("FOREIGN_WRITER",): (
            "Objects came, under names of backups, since this server signs its own, that none of "
            "our servers has begun: an older script still runs, here or on another machine. Its "
            "retention may delete backups of this server. Find it and switch it off "
            "([From the two scripts](from-the-scripts.md)); `postgres-backup adopt` takes over "
            "what it has left. Another job that belongs there? Give it a folder of its own. It "
            "ends when none has come for `backup_fresh_hours`, or all are adopted."
        ),
        ("NOT_SIGNED",): (
            "The backup is there and whole, and could not be signed; the message says why: no key "
            "and no right to make one, a key that others may read, a store that keeps no small "
            "object. It must be trusted by hand. `ansible-playbook setup.yml` makes the key."
        ),
        ("PROOF_NOT_WRITTEN",): (
            "A backup was restored, and the store refused the note of that. The restore is done."
        ),
        ("ADOPTED_UNLOADED",): (
            "A backup was read to its end and vouched for, but a trial load beside the live one "
            "did not work. The message says why."
        ),
    },
    "Before and after a restore": {
        ("KEY_NOT_GIVEN",): (
            "The backup is encrypted, and nobody gave the private key for it. A server need not "
            "have it: give it along with the call (`--identity FILE`, Ansible "
            "`-e backup_age_identity_file=FILE`)."
        ),
        ("KEY_WRONG",): (
            "The private key that was given belongs to none of the recipients of that time. In a "
            "drill: the key that is kept elsewhere opens nothing. Look for the one that does while "
            "the server still stands, or set `backup_age_recipients` anew and take a new backup."
        ),
        ("VERSION_TOO_NEW",): (
            "The backup was made by a newer PostgreSQL than this server. Restore it into that "
            "version, or a newer one."
        ),
        ("VERSION_TOO_OLD",): (
            "The backup was made by an older PostgreSQL, and holds something that this server no "
            "longer takes; the message has its words. Restore it into that version, change there "
            "what is in the way, and take a new backup."
        ),
        ("PROGRAMS_ABSENT",): (
            "`pg_dump` and `pg_restore` of the server's major are not there; the message has the "
            "package."
        ),
        ("DATABASE_ABSENT",): (
            "There is no database to restore in place. Restore without that: it is made anew."
        ),
        ("EXTENSION_ABSENT",): (
            "The server lacks an extension that the backup needs, or files of it. Install its "
            "package on the database server."
        ),
        ("EXTENSION_UNUSABLE",): (
            "The server has the extension, and does not let it be made; the message has its words."
        ),
        ("ROLE_ABSENT",): (
            "The server lacks roles that the backup refers to, and they cannot be made again (or, "
            "in a drill, are made by a restore only). The message names them, the hint has the "
            "statements."
        ),
        ("LOCALE_ABSENT",): ("The server lacks the locale of the backup's database."),
        ("SWAP_IMPOSSIBLE",): (
            "The live database could not be renamed: whose it is, a prepared transaction, or a "
            "session that nobody but its owner may end. The message says which."
        ),
        ("BACKUP_SMALLER",): (
            "The backup has less than `backup_restore_min_percent` of the rows that the live "
            "database has now, so nothing was touched. Is it the right one (`postgres-backup "
            "list`)? If it is: `--smaller` (`-e smaller=true`)."
        ),
        ("UNPROVEN",): (
            "The backup has no manifest, so its rows cannot be compared with the day it was "
            "made. What went in and what came out are still compared."
        ),
        ("FOREIGN_BACKUP",): (
            "It is a backup of another database or server. To restore it here all the same, "
            "name it by its whole key, `s3://bucket/key`."
        ),
        ("UNLOGGED_LEFT_OUT",): (
            "The backup was taken of a standby, which has no rows of unlogged tables: they are in "
            "it without theirs. Back up from the primary if those rows matter."
        ),
        ("RESTORE_NEEDS_RIGHTS",): (
            "The database holds what the user of the backup may not make again: things that only "
            "a superuser may make, or that belong to other roles. The backup has them; the restore "
            "takes another user, or the grant that the message names."
        ),
        ("DISK_NOT_CHECKED",): (
            "Nobody could say how much room the database server has. Look yourself (`df`), "
            "or `GRANT pg_read_all_settings` to the user."
        ),
        ("TABLESPACE_MISSING",): (
            "The server has no tablespace of that name. The database lies in the default one."
        ),
        (
            "SETTING_LEFT_OUT",
            "ROLE_SETTING_LEFT_OUT",
        ): (
            "A setting of the database, or of a role, could not be set, for want of a right "
            "or in another version. Set it by hand if you need it."
        ),
        ("PRIVILEGE_LEFT_OUT",): (
            "The backup names a right to the database that PostgreSQL does not have, or not yet."
        ),
        ("ROLES_WITH_POWER",): (
            "The restore makes roles that may do more than own a database: superusers, roles that "
            "may make others or pass over row security, members of PostgreSQL's own roles. The "
            "message names each. Did you have them? Whoever may write to the bucket may have "
            "added them."
        ),
        ("SETTINGS_WITH_POWER",): (
            "The backup sets what loads or runs code on the server, or changes in whose name "
            "something runs. The message names each."
        ),
        ("GLOBALS_LEFT_OUT",): (
            "The file of roles holds statements that `pg_dumpall` does not write. They were passed "
            "over: nothing of that file is run as it stands."
        ),
        ("SCHEMA_DIFFERS",): (
            "All rows are equal, but the definitions read differently, or, where a `pg_dump` of "
            "another minor version wrote the backup, other objects are there: another version of "
            "an extension, usually."
        ),
        ("RESTORE_NEEDS_SEARCH_PATH",): (
            "A function that an index, a generated column, a CHECK, a domain or a materialized "
            "view calls names something without its schema. A dump has an empty `search_path`, and "
            "does not find it: `psql` alone cannot restore this object, our restore takes the "
            "database's own `search_path` for it. The message has the statement that mends it for "
            "good. Seen when the backup was taken, over some live rows."
        ),
        ("SEARCH_PATH_NOT_ASKED",): (
            "The same could not be tried for every object: it runs with the rights of a role that "
            "is not the backup's user, takes too long, or fails for another reason. A restore "
            "finds out by itself, and then takes longer."
        ),
        ("SEARCH_PATH_USED",): (
            "Functions of the database name others without their schema, which a dump, whose "
            "`search_path` is empty, does not find. The database was loaded with its own "
            "`search_path` instead; rows and indexes are as they were. For good: `ALTER FUNCTION "
            "... SET search_path = ...`, see `RESTORE_NEEDS_SEARCH_PATH`."
        ),
        ("CHECKS_LAST",): (
            "A CHECK reads another table, whose rows come after its own. Those that call functions "
            "were made after all rows, and every row was looked at then."
        ),
        ("NAMES_LAST",): (
            "Rows name an index (`regclass`), which a dump makes after all rows. They were loaded "
            "behind the indexes, and their order may be another."
        ),
        ("STATISTICS_NOT_GATHERED",): (
            "`ANALYZE` failed in the restored database, for the reason in the message: queries may "
            "be slow until it goes through. Where a function of an index does not find a name, see "
            "`RESTORE_NEEDS_SEARCH_PATH`."
        ),
        ("ROWS_NOT_COMPARED",): (
            "The dump has its rows as INSERT statements. They were loaded without an error, "
            "and could not be counted."
        ),
        ("FOREIGN_KEY_MISSING",): (
            "A table was brought back alone, and a foreign key to it was gone: the message "
            "has the statement that makes it again."
        ),
        ("REPLICATION_LEFT",): (
            "A logical replication slot or a subscription belongs to the database that is "
            "replaced, and stays with it; a subscription is switched off there. The message says "
            "what to type after the swap."
        ),
        ("SUBSCRIPTION_OFF",): (
            "The backup holds subscriptions. They come back switched off, as `pg_dump` writes "
            "them: two copies of a database must never both take what a publisher sends."
        ),
        (
            "VIEW_READS_REMOTE",
            "VIEW_NOT_FILLED",
        ): (
            "A materialized view reads tables of a foreign server, and a restore fills it again. "
            "Where that server does not answer the view is left empty; the message has the "
            "statement that fills it."
        ),
        ("DEPENDENT_MISSING",): (
            "A table was brought back alone, and what was dropped with it (a view, a policy, a "
            "rule, a function, a default, its place in a publication, extended statistics) belongs "
            "to something that nobody named. Type what the message has; what has no statement "
            "there, make again as your application does."
        ),
        ("TRIGGERS_OF_TABLES",): (
            "Which of the application's triggers fire while tables are brought back, or do not. "
            "They do not unless it is asked for (`--triggers on`, `-e triggers=on`): what they "
            "would do was done when the rows were written first. Foreign keys are checked anyway."
        ),
        ("LARGE_OBJECTS_MISSING",): (
            "Rows that were brought back name large objects that are gone. Restore the whole "
            "database, or a copy elsewhere, and take them from there: `\\lo_export`, then "
            "`SELECT lo_import(FILE, OID)`."
        ),
        ("PART_LEFT_OUT",): (
            "A part of a backup was loaded by itself, and some of its definitions lean on what is "
            "not in it (a foreign key to a table that nobody chose, a trigger's function). They "
            "are missing in the copy; rows are all there."
        ),
        ("COPY_UNSUBSCRIBED",): (
            "A copy under another name has none of the subscriptions of its backup: two copies of "
            "a database must never both take what a publisher sends."
        ),
        ("SIDE_DATABASE_LEFT",): (
            "The database that was being filled could not be removed. The next restore "
            "removes it; or `dropdb` the one named."
        ),
    },
    "What a drill finds": {
        ("BACKUP_EMPTY",): (
            "The backup has no rows at all, or no tables. It restores, and brings nothing back."
        ),
        ("SEQUENCE_BEHIND",): (
            "A sequence stands before the largest value of the column that it fills: the next row "
            "would collide. So it was when the backup was taken; the message has the statement for "
            "the live database."
        ),
        ("CONSTRAINT_NOT_VALIDATED",): (
            "A constraint is NOT VALID: nobody has looked whether the old rows keep to it. The "
            "message has the statement for the live database."
        ),
        ("COLLATION_DIFFERS",): (
            "The live database, or a collation in it, notes another version than the server has "
            "now: letters may sort otherwise than its indexes think. A restored copy has new "
            "indexes; for the live one, REINDEX, then the statement of the message."
        ),
        ("EXTENSION_DIFFERS",): (
            "An extension has another version, or lies in another schema, than when the backup was "
            "taken: a dump names no version, and the server makes its own."
        ),
        ("OWNERS_DIFFER",): (
            "Roles own other objects in the restored copy than when the backup was taken."
        ),
        ("PRIVILEGES_DIFFER",): (
            "Roles have other rights to objects in the restored copy than when the backup was "
            "taken."
        ),
        ("SETTING_DIFFERS",): (
            "The restored copy has other settings of the database, or another owner, than the "
            "backup says."
        ),
        ("RTO_EXCEEDED",): (
            "A restore would take longer than `backup_drill_rto_minutes`, reckoned from the phases "
            "of the drill without its pauses."
        ),
        ("INDEX_INVALID",): (
            "Indexes of the live database are not valid: building them failed (`CONCURRENTLY`), or "
            "a partition lacks one. Queries pass them by, and a unique one lets doubles in. A "
            "backup does not have them. The message has the statement."
        ),
        ("INDEX_CORRUPT",): (
            "amcheck has found indexes of the live database damaged, or sorted otherwise than the "
            "server sorts now (a new libc): queries through them miss rows. The backup is not "
            "concerned, for a restore makes them anew. The message has the statement; look at the "
            "disk too."
        ),
        ("KIT_LACKS",): (
            "The newest server kit lacks what this server needs: a path of `backup_paths`, or what "
            "`setup.yml` has found that the application of `backup_app_dir` needs and no "
            "repository brings (`REBUILD_LACKS`). Name them in `backup_paths`, then "
            "`postgres-backup kit`."
        ),
        ("QUERY_FAILED",): (
            "A query of `backup_drill_queries` was refused, took too long, or returned no row."
        ),
        ("QUERY_DIFFERS",): ("A query of `backup_drill_queries` answers other than is expected."),
        ("NOT_CHECKED",): (
            "Something could not be compared or asked; the message says what, and why. It counts "
            "as not known, never as passed."
        ),
        ("DRILL_BROKEN_OFF",): (
            "The drill did not come to its end; the message says why. Its copy is gone, or goes "
            "with the next restore or drill."
        ),
        ("DRILL_GAVE_WAY",): (
            "A restore of the same database began, and needs no copy beside its own: it has "
            "removed that of the drill. Type the drill again after it."
        ),
        ("CONNECTIONS_SHORT",): (
            "The server has hardly any connections left, so the drill took none. "
            "`max_connections`; or drill at another time."
        ),
    },
    "Status and pruning": {
        ("NO_BACKUP",): (
            "There is no good backup of this database. Take one, and look at the log for why."
        ),
        ("BACKUP_STALE",): (
            "The newest good one is older than `backup_fresh_hours`. See the log; is cron "
            "running, is the clock right?"
        ),
        ("BACKUP_BAD",): ("A backup of ours is not good; see the first table."),
        ("OTHER_SERVER",): (
            "Another server of the same name has left backups, and writes no more. They stay, and "
            "`latest` and the retention pass them by. `postgres-backup adopt --server ...` makes "
            "them this server's."
        ),
        ("DATABASE_UNREACHABLE",): (
            "The bucket was judged, but the server could not be asked for kept databases."
        ),
        ("DATABASE_IN_THE_CLEAR",): (
            "The database is on another machine, and the way to it is not encrypted: whoever is on "
            "it reads passwords and rows. `backup_db_sslmode: verify-full`, with "
            "`backup_db_sslrootcert`."
        ),
        ("PRUNE_HELD_BACK",): (
            "More than half of the backups are past their time. The rest goes at the next "
            "runs, or at once with `--allow-many`."
        ),
        ("RECOVERED_STAY",): (
            "The dumps of recovered databases, under `<prefix>-recovered/`, could not be listed or "
            "deleted. The nightly backups were pruned as ever."
        ),
        ("NOT_ADOPTED",): ("`adopt` refused a backup; the message says why. It stays where it is."),
        ("OTHER_DATABASE",): (
            "`adopt` refused a dump that itself names another database (`CREATE DATABASE`, "
            "`\\connect`, the head of a custom archive). It stays where it is."
        ),
        ("TABLES_DIFFER",): (
            "`adopt` refused a dump that does not say of which database it is, and that has other "
            "tables than the live one, or the server did not answer. If it is one of this database "
            "all the same, name it: `postgres-backup adopt FILE`."
        ),
        ("WAITING_FOR_ADOPTION",): ("Backups of other scripts stay until `postgres-backup adopt`."),
        ("REBUILD_LACKS",): (
            "Files of the application are on this server alone: neither the server kit nor its git "
            "repository (`app_repo`) holds them, so a rebuild would lack them. `setup.yml` looks, "
            "with Docker's help: the compose file, `.env`, what the services read and keep. The "
            "message has the `backup_paths` to set; name in `backup_paths_elsewhere` what a "
            "rebuilt server gets in another way."
        ),
        ("REPLACED_NOT_REMOVED",): (
            "A replaced database, or a copy, is past its time and could not be dropped; the "
            "message says why."
        ),
        ("REPLACED_IN_USE",): (
            "A replaced database, or a copy, is past its time and stays: somebody is connected to "
            "it, wrote to it, or a replication slot belongs to it. It is dropped by nobody but "
            "you; the message has the statement."
        ),
        ("REPLACED_ADOPTED",): (
            "A database carries the mark of a kept one, and has another name or is a copy: "
            "somebody works with it. It is never dropped, and no undo takes it. A prune says so "
            "once, `status` always, until its comment is set anew."
        ),
        ("CLOCK_DIFFERS",): (
            "This machine's clock and the store's differ by more than 15 minutes. Nothing "
            "was deleted. Set the clock: `timedatectl set-ntp true`."
        ),
    },
    "Alarms": {
        (
            "BACKUP_FAILED",
            "RESTORE_FAILED",
            "PRUNE_FAILED",
            "KIT_FAILED",
            "DRILL_FAILED",
        ): ("That failed; the message says why. A restore that failed has changed nothing."),
        ("DRILL_OVERDUE",): (
            "There was no drill for more than `backup_drill_max_days` (35). Is its line in "
            "`/etc/cron.d/postgres-backup`? Backups that are encrypted are drilled from the "
            "controller, with the key."
        ),
        ("VERIFY_FAILED",): (
            "A backup that a night has read again (`backup_verify_per_night`) is no longer what it "
            "was: the message says how. It ends when the backup is read well, or is gone."
        ),
        ("VERIFY_NOT_DONE",): (
            "A night could not read a backup again; another one tries. The message says why."
        ),
        ("VERIFY_TOO_LARGE",): (
            "A backup is larger than what the nights of a month may read again "
            "(`backup_verify_gb_per_month`), so they never read it."
        ),
        ("NIGHT_SKIPPED",): (
            "The nightly run did not begin although the server was up, or began and never "
            "ended. It is made up for at once. `systemctl status cron`"
        ),
        ("STORE_FAILS",): ("The store does not answer, or refuses."),
        ("CLOCK_OFF",): (
            "This machine's clock and the store's differ by more than 15 minutes: no age can be "
            "trusted, so `status` is not healthy and nothing is pruned. `timedatectl set-ntp true`"
        ),
        ("BACKUP_FROM_THE_FUTURE",): (
            "A backup's name is more than 15 minutes later than the store's clock was when it was "
            "written: the clock of the machine that took it was ahead. It is never `latest` nor "
            "the newest good one, goes by the age that the store tells, and is restored by its "
            "name. Set the clock, then take another: the alarm ends with it."
        ),
        ("PITR_STOPPED",): (
            "With `backup_pitr`: what PostgreSQL writes is not archived, for longer than "
            "`backup_pitr_rpo_seconds`, or nobody has looked; the message says why. PostgreSQL "
            "keeps what waits, so nothing is lost yet, and its disk fills."
        ),
        ("PITR_GAP",): (
            "A piece of what was archived is missing: until the next full backup nothing behind it "
            "can be recovered. The next backup of the cluster is a full one by itself."
        ),
        ("PITR_STALE",): (
            "The newest backup of the cluster is older than two days, the newest full one than "
            "eight, or the store was not asked for as long."
        ),
        ("PITR_DISK",): (
            "What waits to be archived takes half of what was free on PostgreSQL's disk. Where it "
            "is full, PostgreSQL stops."
        ),
        ("PITR_DRILL",): (
            "The last drill of every second failed, so a recovery might fail as well, and the "
            "message says why; or there was none for `backup_drill_max_days`."
        ),
        ("HOUSEKEEPING_REFUSED",): (
            "The backups are taken, and three times in a row or more the store did not do what is "
            "done beside them; the message has the finding, and what the store says. Over with the "
            "first backup beside which all is done."
        ),
        ("DISK_SHORT",): (
            "A restore beside the live database, or of single tables, would have no room. Make "
            "room, or set `backup_restore_in_place`."
        ),
        (
            "SIZE_DROPPED",
            "SIZE_JUMPED",
        ): (
            "The newest backup is far smaller, or larger, than the last seven "
            "(`backup_size_drop_percent`, `backup_size_jump_percent`). It is whole; is the "
            "data?"
        ),
        ("ROWS_GONE",): (
            "A table that had 100 rows or more in the last backup that has any is empty or gone, "
            "or the database has no rows at all. The backup is whole; is that meant? The message "
            "has the lines that bring the rows back, or say that it is meant. Until then the last "
            "backup that has them stays."
        ),
        ("TWO_SERVERS",): (
            "Two servers write backups under one name (a cloned machine, a copied inventory). Each "
            "restores and prunes its own. Give one another `backup_server_name`; the message says "
            "which they are."
        ),
        ("KIT_EMPTIED",): (
            "A folder of the server kit held something, and is empty now: is a volume not mounted "
            "(`findmnt`)? The message names the kit that still has it."
        ),
        ("KIT_SHRUNK",): (
            "The server kit has less than half of the files, or of the bytes, of the one before. "
            "The message names that one."
        ),
        (
            "ROWS_DROPPED",
            "ROWS_JUMPED",
        ): ("The same for the rows of a table; the message names the tables."),
    },
    "The bucket and small troubles": {
        ("SCHEDULE_CHANGED",): (
            "`adopt.yml -e adopt=undo` found the line of an older script changed since it was "
            "switched off, and left it as it is. Look at it with `crontab -e`."
        ),
        (
            "PRIVATE_UNSUPPORTED",
            "PRIVATE_FORBIDDEN",
        ): (
            "The store has no public access block, or this key may not see it. A stranger "
            "was tried and refused, so nothing is open."
        ),
        (
            "PRIVATE_PARTLY",
            "PRIVATE_TAKEN_BACK",
            "UNFINISHED_UPLOADS_TAKEN_BACK",
        ): (
            "With a setting of the bucket that `setup.yml` makes, this store refused to write "
            "(Ceph RGW 16 with `BlockPublicAcls`): it is set but for that, or taken back. A "
            "stranger was tried and refused, so nothing is open."
        ),
        ("STORE_UNFIT",): (
            "`store-check` tried something without which there are no backups, and the store does "
            "not do it, or says that it does and does not."
        ),
        ("CANARY_LEFT",): (
            "An object by which was tried what the store can do, or an unfinished upload of one, "
            "could not be taken away again. It is small, has a fixed name under `store-check/`, "
            "and the next look writes over it, or tries to abort it again."
        ),
        (
            "UNFINISHED_UPLOADS_UNSUPPORTED",
            "UNFINISHED_UPLOADS_FORBIDDEN",
        ): (
            "The store cannot let unfinished uploads expire, or this key may not tell it "
            "to. Each backup removes those of its own that died."
        ),
        ("FILE_GONE",): ("A file of the server kit was removed while the kit was made."),
        ("KIT_FILE_CHANGED",): (
            "A file of the server kit changed while it was read, three times in a row, or is too "
            "large to be read again (above 8 MB): it may be half old and half new. A database file "
            "does not belong into a kit; for others, save when the application is at rest."
        ),
        ("KIT_SPECIAL_FILE",): (
            "A socket, a pipe or a device lies below `backup_paths`. It is in no kit: what an "
            "application needs of that kind it makes itself when it starts."
        ),
        ("KIT_LINK_LEADS_OUT",): (
            "A link below `backup_paths` leads out of all of them. What is there is not in the "
            "kit, and a restore does not make the link. Name where it leads in `backup_paths`."
        ),
        ("KIT_KEY_LEFT_OUT",): (
            "A private key that this server signs with, or has signed with, lies below "
            "`backup_paths`. It is in no kit: whoever reads one could sign in this server's name. "
            "A rebuilt server makes a new key."
        ),
        ("KIT_LINK_LEFT_OUT",): (
            "A link of the kit leads out of the paths that it was made of, and was not made. The "
            "message says what to type, if it is meant so."
        ),
        ("KIT_SETUID",): (
            "A program that runs as its owner (set-uid, set-gid) is in the kit without that: a "
            "restore refuses such files. Install it by its package instead."
        ),
        ("KIT_OWNER_DIFFERS",): (
            "An owner of files in the kit has another number on this machine, or none: files "
            "return by name where the name is known here, else by number."
        ),
        ("KIT_REFUSED",): (
            "A server kit holds what no kit of ours holds: a name that leads out of its paths, a "
            "device, a set-uid file, a name twice, or more than its size can be. Nothing was "
            "written. Ask who else has a key to the bucket, and take another kit."
        ),
        ("KIT_DAMAGED",): ("A server kit cannot be unpacked. Take another."),
        ("KIT_UNREADABLE",): (
            "The manifest of a server kit cannot be read: nobody knows whose kit it is, so it is "
            "never the latest and never deleted. The others count. Ask who else has a key to the "
            "bucket, and remove that kit by hand."
        ),
        ("UPLOAD_NOT_ABORTED",): ("A failed backup could not remove its parts. The next one does."),
        ("UPLOADS_NOT_SWEPT",): (
            "Parts of uploads that died could not be looked for, or not removed; the message says "
            "why. They cost room and nothing else. May the key list and abort multipart uploads?"
        ),
        ("NAME_NOT_CLAIMED",): (
            "The store does not keep or show the notes by which two servers see that they take one "
            "name. The name was looked for once more before the object became visible. May the key "
            "write and list under `journal/`?"
        ),
        ("HEAD_REFUSED",): (
            "The store, or a gateway before it, refuses HEAD and allows GET. Objects are looked at "
            "by GET."
        ),
        ("LISTING_REFUSED",): (
            "The key may not list the bucket. Backups are taken; `status`, the retention and the "
            "watch need a key that may."
        ),
        ("GLOBALS_NOT_SAVED",): (
            "The server's roles could not be read or not be written beside the backup, which is "
            "whole without them. A restore on another server needs them made by hand."
        ),
        ("KITS_NOT_SEEN",): (
            "The store does not show the kits that are there. The new one was compared with none, "
            "and no old one was deleted."
        ),
        ("KITS_NOT_PRUNED",): (
            "The kit is saved, and old ones that are past their time could not be deleted. The "
            "next kit tries again."
        ),
        ("LEFTOVERS",): (
            "A run that was killed had left parts or an object without its manifest: this one has "
            "removed them, or says why they may be somebody's. `status` counts what lies there."
        ),
        ("SESSION_LEFT",): (
            "A run that was killed had left sessions on the PostgreSQL server, a pg_dump that "
            "waits for a lock, say. The next backup ends those of its own user; of another's it "
            "says what to type."
        ),
        ("LEFT_BEHIND",): (
            "What a backup that failed or was killed had made could not be removed; it is named. "
            "The next backup tries again; until then an object is listed without a manifest."
        ),
        ("REHEARSAL_LEFT",): (
            "What the rehearsal of a rebuild has written into the bucket could not be removed; the "
            "message says where it lies. No server takes it for its own. May the key delete? The "
            "next rehearsal tries again, or remove it by hand."
        ),
        ("EVENT_UNREADABLE",): (
            "An entry of the journal is not what such an entry is. The others are told of. Ask who "
            "else has a key to the bucket."
        ),
        ("EVENT_MISSING",): (
            "An event of the journal was written, for a later one is there, or this server "
            "remembers it; and it is gone. Somebody deleted it, or the bucket went back to an "
            "earlier day. Ask who else has a key to the bucket."
        ),
        ("EVENT_FOREIGN",): (
            "An event lies under the name of a server that has not signed it, or not where it was "
            "written: it was put there, moved or copied. Ask who else has a key to the bucket. "
            "Could the server not sign at that time (`NOT_SIGNED`)? Then it may be its own."
        ),
        ("EVENT_NOT_WRITTEN",): (
            "Events that nobody has deleted: the store did not take them when they happened, or "
            "the run was killed. Failures of a night are written later, under a number of their "
            "own."
        ),
        ("EVENT_TWICE",): (
            "A server has signed two events with one number: its state was lost or could not be "
            "written, or a copy of the machine runs (`TWO_SERVERS`)."
        ),
        ("JOURNAL_NOT_WRITTEN",): (
            "What happened has happened, but the note about it could not be written."
        ),
        ("STATE_NOT_WRITTEN",): ("The same for the state on the server. Is its disk full?"),
        ("DISK_FULL",): (
            "The disk of the state (`/var/lib/postgres-backup`) or of the metrics is full: backups "
            "are taken, but the server cannot note what happened, open alarms neither. `status` is "
            "not well until there is room. `df -h; df -i`"
        ),
        ("LOG_NOT_WRITTEN",): (
            "The same for the log (`backup_log_file`). Its lines are on standard error, which cron "
            "mails to its user, and in the system's journal: `journalctl -t postgres-backup`."
        ),
        ("COPY_PENDING",): (
            "A second store is set (`backup_copy_to`), and nothing was copied there yet. The next "
            "night does it."
        ),
        ("COPY_FAILED",): (
            "Something could not be copied to the second store (`backup_copy_to`); the message "
            "says what, and which of the two stores refused. The backups in the first store are "
            "there; the next night tries again, and until all is copied nothing is deleted in the "
            "second."
        ),
        ("COPY_STALE",): (
            "The newest backup in the second store is older than `backup_fresh_hours`, and the "
            "first store has a newer one."
        ),
        ("COPY_OTHER",): (
            "Under the name of a backup another one lies in the second store, and as much speaks "
            "for it. Neither is touched."
        ),
        ("RETENTION_WRONG",): (
            "A setting that says what is deleted makes no sense: `backup_retention_days`, "
            "`backup_keep_weekly`, `backup_keep_monthly` or `backup_keep_replaced_days`. Nothing "
            "is deleted until it is put right; all else goes on."
        ),
        ("STATE_DAMAGED",): (
            "A file of the state on the server cannot be read, or holds what it never should. It "
            "counts as empty, and lies beside its place under a name with `.damaged`; nothing "
            "else is lost. Is the disk well?"
        ),
        ("ALERT_NOT_DELIVERED",): (
            "An address of `backup_alert_urls` could not be told. The next look tries "
            "again. `postgres-backup alert-test`"
        ),
        ("PING_FAILED",): (
            "The dead-man's switch (`backup_ping_url`, of drills `backup_drill_ping_url`) did not "
            "hear of this run."
        ),
        ("NOT_EMPTIED",): (
            "`backup --emptied` named a table that has rows, or that nobody knows. Nothing was "
            "noted for it."
        ),
        ("TREND_NOT_KNOWN",): (
            "The store no longer answered after the backup, or a signal came, so its size and rows "
            "were not held against the others."
        ),
        ("METRICS_NOT_WRITTEN",): (
            "The same for the numbers for Prometheus. Does the folder of "
            "`backup_metrics_file` exist, and has its disk room?"
        ),
    },
}
#: code -> what it means
CODES = {code: text for group in GROUPS.values() for codes, text in group.items() for code in codes}


def each_once(findings: Iterable[Finding]) -> list[Finding]:
    """The same without those that say what an earlier one says."""
    return list({(one["code"], one["message"]): one for one in findings}.values())


def finding(code: str, message: str, database: str = "", newest: bool | None = None) -> Finding:
    """A finding of a code that is registered here; ``database`` and ``newest`` only where given.

    :raises KeyError: nobody has written down what the code means.
    """
    if code not in CODES:
        raise KeyError(f"{code} is not in findings.GROUPS")
    made: Finding = {"code": code, "message": message}
    if database:
        made["database"] = database
    if newest is not None:
        made["newest"] = newest
    return made
