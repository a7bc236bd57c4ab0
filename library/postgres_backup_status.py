#!/usr/bin/python
"""Ansible module: is this server's data safe?"""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_backup_status
short_description: Say whether the backups of a server are as they should be
description:
  - Last backup, its age and size, next run and what is kept, for every database of the settings,
    from the bucket itself.
  - An unhealthy state is a result (RV(healthy) is false), not a failure of the module.
options:
  application_needs:
    description:
      - What a rebuilt server needs of the application, as M(postgres_backup_app_info) has found it,
        RV(postgres_backup_app_info#module:needs). Remembered until it is given anew; what of it
        nothing saves is the finding C(REBUILD_LACKS).
    type: list
    elements: str
  columns:
    description: Break RV(lines) at so many columns; commands stay whole. 0 breaks none. Where it is
      left out, the action plugin takes what there is room for in the terminal.
    type: int
    default: 0
attributes:
  check_mode:
    description: Reads only, and does not remember O(application_needs).
    support: full
extends_documentation_fragment: [postgres_backup]
"""

EXAMPLES = r"""
- name: Ask for the state of the backups
  postgres_backup_status:
  register: __backup_state

- name: Insist on a fresh backup
  ansible.builtin.assert:
    that: __backup_state.healthy
"""

RETURN = r"""
healthy:
  description:
    - Nothing needs anybody. Every database has a good backup of the last C(backup_fresh_hours)
      hours, none failed since, no alarm is open, and the server can note what happens.
  type: bool
  returned: success
state:
  description:
    - What the server is, in one word, V(well), V(look) (worth a look), or, where it is not healthy,
      V(none), V(stale), V(failed) and V(bad) (of the worst database) or V(unwell).
  type: str
  returned: success
why:
  description: Why it is not simply well, the worst first, each with C(text), C(alarm) and C(todo),
    what to type on the server.
  type: list
  elements: dict
  returned: success
server:
  description: Whose backups these are.
  type: str
  returned: success
next_run:
  description: When the schedule fires next, UTC.
  type: str
  returned: success
  sample: "2026-01-28T00:00:00Z"
databases:
  description:
    - For each database C(last) (the newest good backup, or none) and its C(age_hours), C(kept) (how
      many), their C(bytes), C(oldest), C(replaced) (databases kept by restores), C(waiting)
      (for C(postgres-backup adopt)), C(restored_at) (when a backup was restored last, by a drill or
      for good) and C(drill) (the last one here, with C(at), C(passed), C(seconds) and C(codes)).
  type: dict
  returned: success
last_run:
  description: The last nightly run as the server itself remembers it; empty where it does not.
  type: dict
  returned: success
rebuilt:
  description: The last rehearsal of a rebuild, C(at), C(host), C(seconds) and its C(phases), as the
    server itself remembers it; empty where it does not.
  type: dict
  returned: success
second_store:
  description: >-
    What was copied to the second store last, as the server remembers it - C(place), C(at),
    C(error) and C(databases), each with C(newest), C(bytes) and C(backups); empty where there is
    none.
  type: dict
  returned: success
every_second:
  description: Whether every second is kept beside the backups, as lines for a person; empty where
    C(backup_pitr) is not set for this server.
  type: list
  elements: str
  returned: success
alarms:
  description: The troubles that are open now, each with C(code), C(database), C(message), C(since)
    and C(hint).
  type: list
  elements: dict
  returned: success
costs:
  description:
    - What is stored now (C(storage_bytes)) and in the long run (C(steady_bytes)), C(requests_month)
      and C(upload_bytes_month), and what they cost a month (C(storage_month), C(steady_month),
      C(requests_cost_month), in C(currency)) where C(backup_price_gb_month) and its like are set
      (C(price_gb_month), C(price_requests_1000)).
  type: dict
  returned: success
leftovers:
  description:
    - What lies in the bucket under the prefix and is no backup of this program, and its bytes,
      C(objects) without a manifest (of older scripts, or of a run that was killed), C(kits) without
      one and C(uploads) that nobody has finished; C(object_bytes), C(kit_bytes) and
      C(upload_bytes).
  type: dict
  returned: success
lines: {description: The same for a person., type: list, elements: str, returned: success}
findings:
  description: Why it is not healthy, and what else is worth knowing, each with C(code) and
    C(message).
  type: list
  elements: dict
  returned: success
"""

from ansible.module_utils.postgres_backup_module import (
    COLUMNS_OPTION,
    CONFIG_OPTION,
    Call,
    Result,
    fitting,
    run,
    told,
)

ARGUMENT_SPEC = {
    **CONFIG_OPTION,
    **COLUMNS_OPTION,
    "application_needs": {"type": "list", "elements": "str"},
}


def perform(call: Call) -> Result:
    from ansible.module_utils.postgres_backup.health import rebuild, status

    needs = call.params["application_needs"]
    if needs is not None and not call.check:  # what cannot be noted, the answer says
        rebuild.remember(call.settings, needs)
    result = status.status(call.settings, counting=True)
    return told(result, fitting(status.lines(result), call.params["columns"]))


if __name__ == "__main__":
    run(ARGUMENT_SPEC, perform)
