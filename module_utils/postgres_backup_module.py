"""What the modules in library/ share: their common options, one call into the package, and its
errors as answers.

A module is documentation, its own options, and a function that imports a use case and calls it. The
import stands inside that function, so that a Python without the libraries is told in a sentence
instead of a traceback (Ansible finds such imports too, and sends what they need along).
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.postgres_backup.cli import instead
from ansible.module_utils.postgres_backup.cli.answers import failure_of, sentence
from ansible.module_utils.postgres_backup.machine import damage
from ansible.module_utils.postgres_backup.machine.config_file import DEFAULT_CONFIG, load, of_text
from ansible.module_utils.postgres_backup.machine.progress import FileProgress, Progress
from ansible.module_utils.postgres_backup.settings import Settings
from ansible.module_utils.postgres_backup.text import wrapped

if TYPE_CHECKING:
    from ansible.module_utils.postgres_backup.job import Job

#: what a module answers: ``changed``, ``lines`` and the keys of its RETURN
Result = dict[str, Any]

#: documented in doc_fragments/postgres_backup.py
CONFIG_OPTION = {
    "config": {"type": "path", "default": DEFAULT_CONFIG},
    "config_text": {"type": "str", "default": "", "no_log": True},
}
DATABASE_OPTION = {"database": {"type": "str", "default": ""}}
PREDECESSOR_OPTIONS = {
    "databases": {"type": "list", "elements": "str", "default": []},
    "host": {"type": "str", "default": "localhost"},
    "port": {"type": "int", "default": 5432},
    "config_place": {"type": "path", "required": True},
}
COLUMNS_OPTION = {"columns": {"type": "int", "default": 0}}
FROM_COPY_OPTION = {"from_copy": {"type": "bool", "default": False}}
#: of which database, and from which store
READ_OPTIONS = {**DATABASE_OPTION, **FROM_COPY_OPTION}
OF_COPY_OPTION = {"of_copy": {"type": "bool", "default": False}}
PROGRESS_OPTION = {"progress_file": {"type": "path"}}


@dataclasses.dataclass(frozen=True)
class Call:
    """What the user asks of a module.

    :param settings: what ``config`` says; None for a module that has no such option, because it
        runs on the controller.
    :param params: the module's options.
    :param check: check mode: say what would be done, do nothing.
    """

    settings: Settings | None
    params: dict[str, Any]
    check: bool
    progress: Progress

    @property
    def job(self) -> Job:
        """The work that the options ask for."""
        from ansible.module_utils.postgres_backup.job import Job

        return Job(
            self.settings,
            self.params.get("database", ""),
            tuple(self.params.get("identities", ())),
            self.check,
            self.progress,
            self.params.get("trust_unsigned", False),
            self.params.get("roles_with_power", False),
            smaller=self.params.get("smaller", False),
        )


def told(
    result: Mapping[str, Any], lines: Sequence[str], diff: Mapping[str, str] | None = None
) -> Result:
    """The answer of a module.

    :param result: what the use case has returned.
    :param lines: what that says to a person.
    :param diff: ``before`` and ``after``, for ``--diff``.
    """
    return {**result, "lines": list(lines), **({"diff": dict(diff)} if diff else {})}


def fitting(lines: Sequence[str], columns: int) -> list[str]:
    """Lines for a person, each in pieces of so many columns; 0: as they are."""
    return [piece for line in lines for piece in wrapped(line, columns)]


def _settings(module: AnsibleModule) -> Settings:
    """Those of the config; in a check those that it would have."""
    # no option of what the module does, which some hand on as they are
    path, text = module.params["config"], module.params.pop("config_text")
    settings = of_text(text, path) if text and module.check_mode else load(path)
    second = [module.params.pop(name, False) for name in ("from_copy", "of_copy")]
    return settings.of_copy() if any(second) else settings


def refused(error: Exception, hide: Callable[[str], str], on_server: bool = False) -> Result:
    """The answer of a module that has not done it: ``msg exit_status findings``.

    :param error: what its work has raised.
    :param hide: takes secrets out of a text.
    :param on_server: it works by a server's config; else it runs on the controller.
    """
    if isinstance(error, ImportError):
        remedy = (
            "Run `ansible-playbook setup.yml` first, or check backup_python"
            if on_server
            else "Run `sh bootstrap.sh` in the checkout"
        )
        lacks = f"{sys.executable} lacks {error.name}. {remedy}"
        return {"msg": lacks, "exit_status": 2, "findings": []}
    failure = failure_of(error, hide)
    return {
        "msg": sentence(failure),
        "exit_status": failure["exit_status"],
        "findings": failure["findings"],
    }


def run(argument_spec: dict[str, dict[str, Any]], perform: Callable[[Call], Result]) -> None:
    """Answer one call of a module and end the process.

    :param argument_spec: all options of the module; ``config`` is not among them where it runs on
        the controller and has no server's settings.
    :param perform: does the work; its dict, see :func:`told`, is the module's result. What it
        raises as :class:`PostgresBackupError` becomes ``fail_json(msg="message. hint",
        exit_status=, findings=)``.
    """
    module = AnsibleModule(argument_spec=argument_spec, supports_check_mode=True)
    path = module.params.get("progress_file")
    hide: Callable[[str], str] = str
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]  # the settings alone say which server; libpq would listen to these
    try:
        settings = None
        if "config" in argument_spec:
            settings = _settings(module)
            hide = settings.hide
        progress = FileProgress(path) if path else Progress()
        call = Call(settings, module.params, module.check_mode, progress)
        if settings is not None and "from_copy" in argument_spec:
            with instead.told(settings, "-e from=copy"):
                result = perform(call)
        else:
            result = perform(call)
    except Exception as error:  # noqa: BLE001 - the last one to hear of it: never a traceback
        module.fail_json(**refused(error, hide, "config" in argument_spec))
    for found in damage.troubles(settings) if settings else []:
        if found not in result.get("findings", []):
            module.warn(hide(f"{found['code']}: {found['message']}"))
    module.exit_json(**result)
