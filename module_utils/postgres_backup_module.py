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
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.postgres_backup.errors import PostgresBackupError, in_words
from ansible.module_utils.postgres_backup.machine.config_file import DEFAULT_CONFIG, load
from ansible.module_utils.postgres_backup.machine.progress import FileProgress, Progress
from ansible.module_utils.postgres_backup.settings import Settings

#: documented in doc_fragments/postgres_backup.py
CONFIG_OPTION = {"config": {"type": "path", "default": DEFAULT_CONFIG}}
DATABASE_OPTION = {"database": {"type": "str", "default": ""}}
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


def run(argument_spec: dict[str, dict], perform: Callable[[Call], dict]) -> None:
    """Answer one call of a module and end the process.

    :param argument_spec: all options of the module; ``config`` is not among them where it runs on
        the controller and has no server's settings.
    :param perform: does the work; its dict is the module's result and has ``changed``. What it
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
            settings = load(module.params["config"])
            hide = settings.hide
        result = perform(
            Call(
                settings,
                module.params,
                module.check_mode,
                FileProgress(path) if path else Progress(),
            )
        )
    except ImportError as error:
        remedy = (
            "Run `ansible-playbook setup.yml` first, or check backup_python"
            if "config" in argument_spec
            else "Run `sh bootstrap.sh` in the checkout"
        )
        module.fail_json(
            msg=f"{sys.executable} lacks {error.name}. {remedy}", exit_status=2, findings=[]
        )
    except Exception as any_error:  # noqa: BLE001 - the last one to hear of it: a sentence, never a traceback
        error = in_words(any_error)
        findings = [finding | {"message": hide(finding["message"])} for finding in error.findings]
        module.fail_json(
            msg=hide(sentence(error)), exit_status=error.exit_status, findings=findings
        )
    module.exit_json(**result)


def sentence(error: PostgresBackupError) -> str:
    """``message. hint`` on one line."""
    message = error.message.rstrip(". ")
    return f"{message}. {error.hint}" if error.hint else message
