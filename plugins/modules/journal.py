#!/usr/bin/python
# Copyright: the numatune maintainers
# SPDX-License-Identifier: Apache-2.0
"""Close what an interrupted run left, and put back what was there before."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: journal
short_description: Keep the journal of what numatune changed on a host, and undo it
version_added: "0.1.0"
description:
  - The journal lies on the host, in C(/var/lib/numatune/journal). Each transaction of M(numatune.latency.tune_host) is
    one generation, C(000N.json), with a text beside it that says how to undo it by hand, C(000N-undo.txt).
  - Its files are written whole, synced and renamed, so that an interrupted run leaves a journal that can be read.
  - A damaged journal is refused and nothing is changed.
options:
  state:
    description:
      - C(settled) closes what an interrupted run, of tune or of revert, left with what it came to, so that tune can go
        on from there.
      - C(reverted) puts back what was there before, except where somebody changed it since, which is reported. A step
        that fails keeps no other from being done; all that failed is named.
    type: str
    choices: [settled, reverted]
    required: true
  to:
    description:
      - With C(reverted), the generation whose result is gone back to; all later ones are undone. C(0) undoes all.
    type: int
    default: 0
  sysroot:
    description: The tree that stands for the host, instead of the running one. For tests and images.
    type: path
attributes:
  check_mode:
    support: full
    description: Predicts the change and writes nothing, not even a lock.
  diff_mode:
    support: full
    description: As M(numatune.latency.tune_host) does; of a GRUB menu its kernel lines.
author:
  - The numatune maintainers
"""

EXAMPLES = r"""
- name: Put everything back
  numatune.latency.journal:
    state: reverted
"""

RETURN = r"""
settled:
  description: The generations that were interrupted, and are closed now.
  returned: when O(state=settled)
  type: list
  elements: int
actions:
  description: What was put back, each with C(kind), C(path) and C(setting).
  returned: when O(state=reverted)
  type: list
  elements: dict
paths:
  description: The same as a person reads them, those of several CPUs or interrupts as one.
  returned: when O(state=reverted)
  type: list
  elements: str
conflicts:
  description: One line for each thing that somebody changed since, and that was left alone.
  returned: when O(state=reverted)
  type: list
  elements: str
notes:
  description: One line for each thing that stays and is no conflict.
  returned: when O(state=reverted)
  type: list
  elements: str
run:
  description:
    - The mark of a run of tune that was cut or left the host out of service, as M(numatune.latency.audit_host) has it.
      It stays until the host serves again; M(numatune.latency.run_mark) removes it.
  returned: when O(state=reverted)
  type: dict
stays:
  description: The generations up to O(to) that the run of that mark made, so that the host is not as it was before it.
  returned: when O(state=reverted)
  type: list
  elements: int
reboot:
  description: Whether the running kernel still has what was taken back, until the next boot.
  returned: when O(state=reverted)
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.numatune.latency.plugins.module_utils import run_mark, undo
from ansible_collections.numatune.latency.plugins.module_utils.core.catalogue import SETTINGS
from ansible_collections.numatune.latency.plugins.module_utils.core.change import Change
from ansible_collections.numatune.latency.plugins.module_utils.core.errors import NumatuneError
from ansible_collections.numatune.latency.plugins.module_utils.core.undo import revert
from ansible_collections.numatune.latency.plugins.module_utils.differences import differences, places
from ansible_collections.numatune.latency.plugins.module_utils.reading import shown
from ansible_collections.numatune.latency.plugins.module_utils.store import Store
from ansible_collections.numatune.latency.plugins.module_utils.system import System, runner
from ansible_collections.numatune.latency.plugins.module_utils.tree import Tree, TreeError, reason


def settle(params, host, write):
    """Close what interrupted runs left."""
    numbers = undo.settle(host) if write else undo.interrupted(host)
    return {"changed": bool(numbers), "settled": list(numbers)}


def go_back(params, host, write):
    """Put back what was there before; what somebody changed since is reported and left alone."""
    first = params["to"] + 1
    kept = host.store.read()
    newest = max((item.number for item in kept), default=0)
    if params["to"] > newest:
        there = f"the newest is {newest}" if newest else "this host has none"
        raise TreeError(f"numatune_revert_to: there is no generation {params['to']}, {there}; nothing was changed")
    generations = revert.open_generations(kept, first)
    strangers = undo.strangers(host, generations)
    undone = undo.undo(host, generations, first, write)
    if undone.failure:
        raise TreeError(undone.failure)
    way = undone.way
    try:
        mark = run_mark.read(host.tree)
        marked, odd = (mark.as_dict() if mark else {}), []
    except (NumatuneError, OSError) as error:
        marked, odd = {}, [reason(error)]
    # The journal may name a setting that another version had.
    by_reboot = {item.name for item in SETTINGS if item.by_reboot}
    return {
        "changed": bool(way.actions),
        "actions": [{"kind": item.kind, "path": item.path, "setting": item.setting} for item in way.actions],
        "conflicts": [*way.conflicts, *strangers, *odd],
        "notes": [*way.notes, *undone.leftovers],
        "run": marked,
        "stays": list(revert.stay(kept, params["to"], marked["drained"] or marked["began"])) if marked else [],
        "reboot": any(item.setting in by_reboot for item in way.actions),
        "paths": places([item.path for item in way.actions]),
        "diff": differences([as_change(item) for item in way.actions]),
    }


def as_change(action):
    """Return one step back as the change that it is; of a menu its kernel lines alone are shown."""
    kind = {"write": action.then.state, "remove": "file", "rmdir": "file"}.get(action.kind, action.kind)
    if action.path.endswith("/grub.cfg"):
        kind = "menu"
    before, after = (
        None if seen.state == "absent" else (seen.content or b"").decode("utf-8", "replace")
        for seen in (action.now, action.then)
    )
    path = action.path + ("/" if action.kind == "rmdir" else "")
    return Change(action.setting, kind, path, after, before, "")


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["settled", "reverted"], "required": True},
            "to": {"type": "int", "default": 0},
            "sysroot": {"type": "path"},
        },
        supports_check_mode=True,
    )
    work = {"settled": settle, "reverted": go_back}[module.params["state"]]
    try:
        if module.params["to"] < 0:
            raise TreeError("to: a generation's number from 0 is wanted; nothing was changed")
        tree = Tree(module.params["sysroot"])
        if not tree.may_write():
            raise TreeError("needs root: run with become (numatune_become: true) or as root; nothing was changed")
        host = undo.Host(tree, System(tree, runner(module)), Store(tree))
        # What is refused is refused before anything is written, the journal's own folder included.
        with host.store.lock(create=False):
            result = work(module.params, host, write=False)
        if not module.check_mode:
            with host.store.lock(create=result["changed"]):
                result = work(module.params, host, write=True)
    except (NumatuneError, OSError) as error:
        module.fail_json(msg=shown(reason(error)))
    module.exit_json(**shown(result))


if __name__ == "__main__":
    main()
