"""What one piece of work is about: which server and database, for whom, and whether it is done or
only planned.
"""

from __future__ import annotations

import dataclasses
import functools

from .errors import UsageError
from .findings import finding
from .machine.due import Again
from .machine.pace import Pace
from .machine.progress import Progress
from .s3.store import Store
from .settings import Settings


@dataclasses.dataclass(frozen=True)
class Job:
    """Made once, by whoever is asked, and handed on.

    :param wanted_database: the database as it was asked for; may be empty where the settings name
        only one.
    :param identities: private age keys, for what is encrypted.
    :param check: say what would be done, and do nothing.
    :param progress: where each step is told.
    :param trust_unsigned: what nobody trustworthy has signed is used all the same.
    :param roles_with_power: roles of such a backup may get power over the server.
    :param again: it is a try of a night, and what fails may be tried again.
    :param smaller: a backup of far less than there is, is meant.
    :param pace: how fast rows may go into a database and be read there; as fast as they come.
    """

    settings: Settings
    wanted_database: str = ""
    identities: tuple[str, ...] = ()
    check: bool = False
    progress: Progress = dataclasses.field(default_factory=Progress)
    trust_unsigned: bool = False
    roles_with_power: bool = False
    again: Again | None = None
    pace: Pace = dataclasses.field(default_factory=Pace)
    smaller: bool = False

    @functools.cached_property
    def database(self) -> str:
        """One of the settings' databases.

        :raises UsageError: none of that name is in the settings, or there are several and none was
            named.
        """
        return self.settings.for_database(self.wanted_database)

    def require(self, may_list: bool = True) -> None:
        """The database is one of ours, and the store lets us in.

        :param may_list: the work needs to see what is there; a backup does without.
        :raises UsageError: there is no such database.
        :raises StoreError: the store does not answer, or refuses.
        """
        _ = self.database
        self.store.check(may_list)

    def require_identities(self, name: str) -> None:
        """A private key was given, for ``name``, which is encrypted.

        :raises UsageError: none was.
        """
        if not self.identities:
            raise UsageError(
                f"{name} is encrypted and no private key was given",
                "Give the age key file: --identity FILE "
                "(Ansible: -e backup_age_identity_file=FILE)",
                [finding("KEY_NOT_GIVEN", f"{name} is encrypted and no private key was given")],
            )

    def at_copy(self) -> Job:
        """The same work at the second store.

        :raises UsageError: there is none.
        """
        return dataclasses.replace(self, settings=self.settings.of_copy())

    @functools.cached_property
    def store(self) -> Store:
        """The object storage; made when it is first asked for."""
        return Store(self.settings)
