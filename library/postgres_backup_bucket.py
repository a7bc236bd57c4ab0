#!/usr/bin/python
"""Ansible module: the bucket that backups go into."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_backup_bucket
short_description: Create the bucket, close it to the public, let unfinished uploads expire
description:
  - Stores differ in what they can do here, and keys in what they may. What cannot be done is a finding, not a failure, but a bucket that
    strangers can read is a failure.
options:
  unfinished_uploads_days:
    description: After how many days the store removes what was uploaded in part and never completed.
    type: int
    default: 3
attributes:
  check_mode:
    description: Says what would be changed.
    support: full
extends_documentation_fragment: [postgres_backup]
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
  description: What was done about public access - V(set), V(unchanged), V(unsupported) by the store, or V(forbidden) to this key.
  type: str
  returned: success
unfinished_uploads:
  description: The same for the rule that lets unfinished uploads expire.
  type: str
  returned: success
findings:
  description: What the store cannot do or the key may not, each with C(code) and C(message).
  type: list
  elements: dict
  returned: success
"""

from ansible.module_utils.postgres_backup_module import CONFIG_OPTION, Call, run

ARGUMENT_SPEC = {**CONFIG_OPTION, "unfinished_uploads_days": {"type": "int", "default": 3}}

FINDINGS = {
    (
        "private",
        "unsupported",
    ): "the store has no public access block; a stranger was refused all the same",
    (
        "private",
        "forbidden",
    ): "this key may not see whether public access is blocked; a stranger was refused all the same",
    (
        "unfinished_uploads",
        "unsupported",
    ): "the store cannot let unfinished uploads expire; each backup removes those of its own that died",
    (
        "unfinished_uploads",
        "forbidden",
    ): "this key may not set rules for unfinished uploads; each backup removes those of its own that died",
}


def perform(call: Call) -> dict:
    from ansible.module_utils.postgres_backup.errors import StoreError
    from ansible.module_utils.postgres_backup.findings import finding
    from ansible.module_utils.postgres_backup.s3 import bucket, store
    from ansible.module_utils.postgres_backup.s3.errors import Refused

    target, days = store.Store(call.settings), call.params["unfinished_uploads_days"]
    if call.check and not target.bucket_exists():
        return {
            "changed": True,
            "bucket": call.settings.s3_bucket,
            "created": True,
            "private": "set",
            "unfinished_uploads": "set",
            "findings": [],
        }

    def allowed(ask) -> str:
        try:
            return ask()
        except Refused as error:
            if error.status != 403:
                raise
            return "forbidden"

    created = False if call.check else target.create_bucket()
    private = allowed(lambda: target.make_private(call.check))
    if private == "forbidden" and bucket.strangers_may(target.s3):
        message = f"Failed to make the bucket {call.settings.s3_bucket} private: anybody may read it, and this key may not change that"
        raise StoreError(message, "Close it to the public in the provider's console")
    steps = {
        "private": private,
        "unfinished_uploads": allowed(lambda: target.expire_unfinished_uploads(days, call.check)),
    }
    findings = [
        finding(f"{step}_{state}".upper(), FINDINGS[step, state])
        for step, state in steps.items()
        if (step, state) in FINDINGS
    ]
    return {
        "changed": created or "set" in steps.values(),
        "bucket": call.settings.s3_bucket,
        "created": created,
        **steps,
        "findings": findings,
    }


if __name__ == "__main__":
    run(ARGUMENT_SPEC, perform)
