#!/usr/bin/python
"""Ansible module: the bucket that backups go into."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_backup_bucket
short_description: Create the bucket, close it to the public, let unfinished uploads expire
description:
  - Stores differ in what they can do here, and keys in what they may. What cannot be done is a
    finding, not a failure, but a bucket that strangers can read is a failure.
  - Beside each setting a canary is written, read and deleted; what the store no longer lets this
    key do with it is taken back, with a finding.
options:
  unfinished_uploads_days:
    description: >-
      After how many days the store removes what was uploaded in part and never completed.
    type: int
    default: 3
attributes:
  check_mode:
    description: Says what would be changed.
    support: full
extends_documentation_fragment: [postgres_backup, postgres_backup.of_copy]
"""

EXAMPLES = r"""
- name: Make the bucket ready
  postgres_backup_bucket:
    unfinished_uploads_days: 7
"""

RETURN = r"""
bucket:
  description: Its name.
  type: str
  returned: success
created:
  description: It was missing.
  type: bool
  returned: success
private:
  description: What was done about public access - V(set), V(unchanged), V(unsupported) by the
    store, or V(forbidden) to this key. Where the store refuses to write with it, V(set_partly) and
    V(partly) (all but BlockPublicAcls), V(taken_back), or V(removed) (what was there before).
  type: str
  returned: success
unfinished_uploads:
  description: The same for the rule that lets unfinished uploads expire - V(set), V(unchanged),
    V(unsupported), V(forbidden) or V(taken_back).
  type: str
  returned: success
store_known:
  description: What a store of these settings can do was tried before.
  type: bool
  returned: success
findings:
  description: What the store cannot do or the key may not, each with C(code) and C(message).
  type: list
  elements: dict
  returned: success
lines: {description: The same for a person., type: list, elements: str, returned: success}
"""

from ansible.module_utils.postgres_backup_module import (
    CONFIG_OPTION,
    OF_COPY_OPTION,
    Call,
    Result,
    run,
    told,
)

ARGUMENT_SPEC = {
    **CONFIG_OPTION,
    **OF_COPY_OPTION,
    "unfinished_uploads_days": {"type": "int", "default": 3},
}


def perform(call: Call) -> Result:
    from ansible.module_utils.postgres_backup.catalog.names import shared_prefix
    from ansible.module_utils.postgres_backup.s3 import bucket, known
    from ansible.module_utils.postgres_backup.s3.client import S3

    days, settings = call.params["unfinished_uploads_days"], call.settings
    # one rule for all servers that have a folder in the bucket
    of_all = shared_prefix(settings.s3_prefix, settings.server_name)
    result = bucket.make_ready(S3(settings), days, call.check, of_all)
    return told(
        {**result, "store_known": known.is_known(settings)},
        bucket.lines(result, call.check),
    )


if __name__ == "__main__":
    run(ARGUMENT_SPEC, perform)
