"""What a dump of a script, or of a part, may ask for in vain, so that a load goes on.

pg_dump itself asks for none of it where a database is dumped as we do. ``--clean`` drops what a new
database does not have; dumps of one schema, and those of older servers, make or comment on what
every database has from the beginning.
"""

from __future__ import annotations

import re

#: a statement that does not drop, in a dump whose beginning does nothing else; --clean makes views
#: that depend on each other anew before it drops them
_MAKING = re.compile(
    rb"(?:CREATE(?! OR REPLACE VIEW)|COPY|INSERT|COMMENT|GRANT|REVOKE"
    rb"|SELECT pg_catalog\.lo_(?!unlink))"
)
#: SQLSTATEs: what is to be dropped is not there (a table, schema, function, column, anything)
_MISSING = ("42P01", "3F000", "42883", "42703", "42704")
#: SQLSTATE: it is another's (the schema public, plpgsql)
_NOT_OURS = "42501"
#: the schema public and plpgsql, which every new database has; in old servers both are a
#: superuser's, and plpgsql in all
_THERE = re.compile(
    rb"(?:(?:CREATE|COMMENT ON) SCHEMA (?:public|\"public\")"
    rb"|(?:CREATE|COMMENT ON) EXTENSION (?:IF NOT EXISTS )?plpgsql"
    rb"|(?:CREATE (?:OR REPLACE )?(?:TRUSTED )?|COMMENT ON |ALTER )(?:PROCEDURAL )?LANGUAGE "
    rb"(?:plpgsql|\"plpgsql\"))[ ;]"
)
#: SQLSTATEs: a schema, or another thing, is there already
_THERE_ALREADY = ("42P06", "42710", _NOT_OURS)


#: what may lean on things beside the chosen tables
_LEANING = re.compile(
    rb"(?:ALTER TABLE (?:ONLY )?[^;]{1,300}?\n    ADD CONSTRAINT [^;]{1,300}? "
    rb"(?:FOREIGN KEY|CHECK) "
    rb"|ALTER TABLE (?:ONLY )?[^;]{1,300}? (?:ATTACH PARTITION|INHERIT) "
    rb"|ALTER TABLE (?:ONLY )?[^;]{1,300}? (?:ENABLE|DISABLE|FORCE) "
    rb"|CREATE (?:CONSTRAINT )?TRIGGER |CREATE (?:UNIQUE )?INDEX |CREATE STATISTICS "
    rb"|CREATE (?:POLICY|RULE) |CREATE (?:OR REPLACE )?VIEW |ALTER PUBLICATION |COMMENT ON "
    rb"|GRANT |REVOKE |ALTER VIEW )"
)


class InVain:
    """Which statements of a dump may fail, and how.

    :param cleaning: the dump is none of ours; else nothing may fail.
    :param part: it is of a part of a database, and what leans on the rest may be missing.
    """

    def __init__(self, cleaning: bool, part: bool = False) -> None:
        self.cleaning = self._beginning = cleaning
        self.part = part

    def begins_to_make(self) -> None:
        """What was to be dropped first has been."""
        self._beginning = False

    def states(self, statement: bytes) -> tuple[str, ...]:
        """The SQLSTATEs with which this next statement may fail; mostly none."""
        if self.part and _LEANING.match(statement):
            return _MISSING
        if not self.cleaning:
            return ()
        if self._beginning and _MAKING.match(statement):
            self.begins_to_make()
        if self._beginning:
            return (*_MISSING, _NOT_OURS) if statement.startswith(b"DROP") else _MISSING
        return _THERE_ALREADY if _THERE.match(statement) else ()
