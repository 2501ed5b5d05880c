#!/usr/bin/python
# Copyright: the numatune maintainers
# SPDX-License-Identifier: Apache-2.0
"""Keep on the host that a run changes it, so that a run which is cut is seen."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: run_mark
short_description: Keep on the host that a run changes it, and whether it is out of service
version_added: "0.1.0"
description:
  - Keeps one small file on the host, C(/var/lib/numatune/run.json), while a playbook changes it or holds it out of
    service. Every audit names a run that was cut by it, and the next run finishes or undoes that one.
  - A file there that numatune did not write is refused, and nothing is changed.
options:
  state:
    description:
      - C(begun) writes the mark; call it before the host is taken out of service.
      - C(ended) says that the run ended and left the host out of service; a host that was not taken out loses its mark.
      - C(over) removes the mark, after the host was put back into service.
    type: str
    choices: [begun, ended, over]
    required: true
  playbook:
    description: The playbook that runs, with C(begun).
    type: str
    choices: [tune, qualify]
    default: tune
  drains:
    description: Whether the host is taken out of service, with C(begun).
    type: bool
    default: false
  outcome:
    description: The state in which the run left the host, with C(ended).
    type: str
    choices: [failed, pending_reboot, tuned, incomplete, qualified, reverted]
    default: failed
  sysroot:
    description: The tree that stands for the host, instead of the running one. For tests and images.
    type: path
attributes:
  check_mode:
    support: full
    description: Predicts the change and writes nothing, not even a lock.
  diff_mode:
    support: none
    description: The mark is no setting of the host.
author:
  - The numatune maintainers
"""

EXAMPLES = r"""
- name: Note that a run begins that takes the host out of service
  numatune.latency.run_mark:
    state: begun
    drains: true
"""

RETURN = r"""
run:
  description: The mark as it is afterwards, as M(numatune.latency.audit_host) has it; empty without one.
  returned: success
  type: dict
"""

from dataclasses import replace

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.numatune.latency.plugins.module_utils import run_mark
from ansible_collections.numatune.latency.plugins.module_utils.core.errors import NumatuneError
from ansible_collections.numatune.latency.plugins.module_utils.core.undo.run_mark import OUTCOMES, begin
from ansible_collections.numatune.latency.plugins.module_utils.reading import shown
from ansible_collections.numatune.latency.plugins.module_utils.store import Store, now
from ansible_collections.numatune.latency.plugins.module_utils.tree import Tree, TreeError, reason


def wanted(params, old):
    """Return the mark that there should be, None for none."""
    if params["state"] == "begun":
        return begin(params["playbook"], old, params["drains"], now())
    if params["state"] == "ended" and old and old.drained:
        return replace(old, ended=params["outcome"], at=now())
    return None


def keep(tree, params, write):
    """Make the mark what it should be, and return it with whether that changed anything."""
    old = run_mark.read(tree)
    new = wanted(params, old)
    if write and new:
        run_mark.write(tree, new)
    elif write and old:
        run_mark.remove(tree)
    return {"changed": new != old, "run": new.as_dict() if new else {}}


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["begun", "ended", "over"], "required": True},
            "playbook": {"type": "str", "choices": ["tune", "qualify"], "default": "tune"},
            "drains": {"type": "bool", "default": False},
            "outcome": {"type": "str", "choices": list(OUTCOMES), "default": "failed"},
            "sysroot": {"type": "path"},
        },
        supports_check_mode=True,
    )
    try:
        tree = Tree(module.params["sysroot"])
        if not tree.may_write():
            raise TreeError("needs root: run with become (numatune_become: true) or as root; nothing was changed")
        # What is refused is refused before anything is written, the folder of the mark included.
        result = keep(tree, module.params, write=False)
        if result["changed"] and not module.check_mode:
            with Store(tree).lock(create=True):
                result = keep(tree, module.params, write=True)
    except (NumatuneError, OSError) as error:
        module.fail_json(msg=shown(reason(error)))
    module.exit_json(**shown(result))


if __name__ == "__main__":
    main()
