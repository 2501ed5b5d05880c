#!/usr/bin/python
# Copyright: the numatune maintainers
# SPDX-License-Identifier: Apache-2.0
"""Make the changes that a plan names, as one transaction on the target."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: tune_host
short_description: Change settings of this host so that they are right now and at every boot
version_added: "0.1.0"
description:
  - Reads and plans the host, and makes the changes of the named settings as one transaction. What cannot be done is
    refused before the first write. What was there is recorded in C(/var/lib/numatune/journal) first; each file is
    replaced whole; each running value is read back; then the host is judged again. Where something fails or does not
    hold, what was there is put back.
  - A run that was interrupted before is finished first; a revert that was interrupted is closed with what it came to.
  - It never reboots. Kernel arguments are first put into an entry that boots once; see the role
    M(numatune.latency.tune#role).
extends_documentation_fragment:
  - numatune.latency.host
options:
  only:
    description: The settings to change.
    type: list
    elements: str
    required: true
  tuned:
    description:
      - All settings that this run of tune changes. What several of them need is the part of the first. Empty means
        O(only).
    type: list
    elements: str
    default: []
  try_menu:
    description:
      - Whether check mode, too, makes GRUB's menu into a scratch file below C(/run) where a menu would change, as every
        other run does before its first write. That runs the host's scripts of C(/etc/grub.d) as root.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Predicts the very changes, and writes nothing, not even a lock. It runs no script of the host's.
  diff_mode:
    support: full
    description: Shows each file and value before and after; CPUs with one value together, of long new files the start.
author:
  - The numatune maintainers
"""

EXAMPLES = r"""
- name: Turn automatic NUMA balancing off, now and at every boot
  numatune.latency.tune_host:
    only: [numa_balancing]
"""

RETURN = r"""
changes:
  description: What was changed, in order, or in check mode would be, each with C(setting), C(kind) and C(path).
  returned: success
  type: list
  elements: dict
generation:
  description: The generation of the journal that holds what was there before; none when nothing was changed.
  returned: success
  type: int
refused:
  description: Interrupts that the kernel keeps where they are (managed ones), by their files.
  returned: success
  type: list
  elements: str
statuses:
  description: Each setting's status afterwards; empty when nothing was changed.
  returned: success
  type: dict
notes:
  description: What this run did not look at, one line each.
  returned: success
  type: list
  elements: str
reboot:
  description: Whether something that was changed takes effect at the next boot only.
  returned: success
  type: bool
"""

import datetime

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.numatune.latency.plugins.module_utils import run_mark
from ansible_collections.numatune.latency.plugins.module_utils.core.audit import judge
from ansible_collections.numatune.latency.plugins.module_utils.core.catalogue import setting
from ansible_collections.numatune.latency.plugins.module_utils.core.errors import NumatuneError
from ansible_collections.numatune.latency.plugins.module_utils.core.plan import make_plan
from ansible_collections.numatune.latency.plugins.module_utils.differences import differences
from ansible_collections.numatune.latency.plugins.module_utils.reading import OPTIONS, shown, snapshot_of, wanted
from ansible_collections.numatune.latency.plugins.module_utils.store import Store
from ansible_collections.numatune.latency.plugins.module_utils.system import System, runner
from ansible_collections.numatune.latency.plugins.module_utils.transaction import tune
from ansible_collections.numatune.latency.plugins.module_utils.tree import Tree, TreeError, reason
from ansible_collections.numatune.latency.plugins.module_utils.undo import Host, interrupted, settle

NOT_TRIED = (
    "GRUB's menu was not made: check mode runs no script of /etc/grub.d; a run without --check makes it into a scratch "
    "file, and checks it, before its first write"
)


def work(module):
    """Do it; return what was done."""
    params, today = module.params, datetime.date.today()
    profile = wanted(params)
    only = {setting(name).name for name in params["only"]}
    tuned = {setting(name).name for name in params["tuned"]} | only
    tree = Tree(params["sysroot"])
    if not tree.may_write():
        raise TreeError("needs root: run with become (numatune_become: true) or as root; nothing was changed")
    host = Host(tree, System(tree, runner(module)), Store(tree))

    def look():
        return make_plan(snapshot_of(module, tree), profile, today, tuned).of(only)

    def prove():
        findings = judge(snapshot_of(module, tree), profile, today).findings
        return {item.setting: (item.status, item.reason) for item in findings}

    # In the next boot, what a run that was cut came to may be known from its journal alone.
    cut = interrupted(host)
    if cut and not module.check_mode:
        with host.store.lock(create=True):
            settle(host)
    try:
        return transact(module, host, look, prove)
    except TreeError as error:
        if not cut:
            raise
        numbers = ", ".join(map(str, cut))
        told = (
            f"generation {numbers} was interrupted: a run without --check closes it first, and may plan otherwise"
            if module.check_mode
            else f"generation {numbers}, which was interrupted, was closed with what it came to"
        )
        raise TreeError(f"{error}; {told}") from None


def transact(module, host, look, prove):
    """Refuse what cannot be done, then do the rest; return what was done."""
    # What is refused is refused before anything is written, the journal's own folder included.
    with host.store.lock(create=False):
        done = tune(host, look, prove, write=False, try_menu=tries_menu(module))
        unfinished = interrupted(host)
    if not module.check_mode and (done.changes or unfinished):
        with host.store.lock(create=True):
            done = tune(host, look, prove, write=True)
            run_mark.add(host, [item.setting for item in done.changes])
    return done


def tries_menu(module):
    """Return whether the scratch menu is made: check mode writes nothing and runs no script, unless it is asked to."""
    return not module.check_mode or module.params["try_menu"]


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **OPTIONS,
            "only": {"type": "list", "elements": "str", "required": True},
            "tuned": {"type": "list", "elements": "str", "default": []},
            "try_menu": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        done = work(module)
    except (NumatuneError, OSError) as error:
        module.fail_json(msg=shown(reason(error)))
    result = {
        "changed": bool(done.changes),
        "changes": [{"setting": item.setting, "kind": item.kind, "path": item.path} for item in done.changes],
        "generation": done.generation,
        "refused": list(done.refused),
        "statuses": dict(done.statuses or {}),
        "notes": [NOT_TRIED] if not tries_menu(module) and any(item.kind == "menu" for item in done.changes) else [],
        "reboot": any(item.needs_reboot for item in done.changes),
        "diff": differences(done.changes),
    }
    module.exit_json(**shown(result))


if __name__ == "__main__":
    main()
