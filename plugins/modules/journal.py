#!/usr/bin/python
# Copyright: the numatune maintainers
# SPDX-License-Identifier: Apache-2.0
"""Record what was there before a change, and put it back."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: journal
short_description: Keep the journal of what numatune changed on a host, and undo it
version_added: "0.1.0"
description:
  - The journal lies on the host, in C(/var/lib/numatune/journal). Each run of tune that changes something is one
    generation, C(000N.json), with a text beside it that says how to undo it by hand, C(000N-undo.txt).
  - Its files are written whole, synced and renamed, so that an interrupted run leaves a journal that can be read.
  - A damaged journal is refused and nothing is changed.
options:
  state:
    description:
      - C(recorded) saves, before the first write, what the planned changes will replace.
      - C(completed) closes that generation with what numatune left, so that later changes by others are seen.
      - C(reverted) puts back what was there before, except where somebody changed it since, which is reported.
    type: str
    choices: [recorded, completed, reverted]
    required: true
  changes:
    description: The planned changes, as M(numatune.latency.audit_host) returns them. Needed by C(recorded).
    type: list
    elements: dict
  generation:
    description:
      - The generation to close, with C(completed).
      - The oldest generation to undo, with C(reverted); that one and all later ones are undone. The default is all.
    type: int
  sysroot:
    description: The tree that stands for the host, instead of the running one. For tests and images.
    type: path
attributes:
  check_mode:
    support: full
    description: Predicts the change and writes nothing, not even a lock.
  diff_mode:
    support: full
    description: Shows the hand-revert text, or the files that would be put back.
author:
  - The numatune maintainers
"""

EXAMPLES = r"""
- name: Save what is there
  numatune.latency.journal:
    state: recorded
    changes: "{{ audited.plan.changes }}"
  register: recorded

- name: Close the generation
  numatune.latency.journal:
    state: completed
    generation: "{{ recorded.generation }}"

- name: Put everything back
  numatune.latency.journal:
    state: reverted
"""

RETURN = r"""
generation:
  description: The generation that was recorded or completed.
  returned: when O(state=recorded) with changes, or O(state=completed)
  type: int
directories:
  description: The directories that the changes need and that do not exist, outermost first.
  returned: when O(state=recorded)
  type: list
  elements: str
actions:
  description: What was put back, each with C(kind), C(path) and C(setting).
  returned: when O(state=reverted)
  type: list
  elements: dict
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
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.numatune.latency.plugins.module_utils.apply import look_at, put_back, recordable
from ansible_collections.numatune.latency.plugins.module_utils.core import journal, revert
from ansible_collections.numatune.latency.plugins.module_utils.core.errors import NumatuneError
from ansible_collections.numatune.latency.plugins.module_utils.core.recipe import recipe
from ansible_collections.numatune.latency.plugins.module_utils.store import FOLDER, Store, now
from ansible_collections.numatune.latency.plugins.module_utils.tree import Tree, TreeError, reason


def record(params, tree, store, write):
    """Save what the planned changes will replace."""
    changes = params["changes"]
    if not changes:
        return {"changed": False, "directories": []}
    number = max([item.number for item in store.read()], default=0) + 1
    generation = journal.record(number, changes, recordable(tree, changes), tree.boot_id(), now())
    if write:
        store.write(generation)
    path = f"{FOLDER}/{journal.recipe_name(number)}"
    return {
        "changed": True,
        "generation": number,
        "directories": [entry.path for entry in generation.entries if entry.kind == "directory"],
        "diff": {"before_header": path, "after_header": path, "before": "", "after": recipe(generation)},
    }


def complete(params, tree, store, write):
    """Close a generation with what numatune left."""
    number = params["generation"]
    result = {"generation": number, "changed": True}
    if not write:
        return result
    found = [item for item in store.read() if item.number == number]
    if not found:
        raise TreeError(f"the journal holds no generation {number}: record one before completing it")
    if found[0].state != "recorded":
        return {**result, "changed": False}
    store.write(journal.complete(found[0], look_at(tree, found), now()))
    return result


def undo(params, tree, store, write):
    """Put back what was there before; what somebody changed since is reported and left alone."""
    first = params["generation"] or 1
    generations = revert.open_generations(store.read(), first)
    way = revert.plan_back(generations, look_at(tree, generations), tree.boot_id(), first)
    if write and generations:
        failure = put_back(tree, way, lambda done: [store.write(revert.mark(g, done, now())) for g in generations])
        if failure:
            raise TreeError(failure)
    return {
        "changed": bool(way.actions),
        "actions": [{"kind": item.kind, "path": item.path, "setting": item.setting} for item in way.actions],
        "conflicts": list(way.conflicts),
        "notes": list(way.notes),
        "diff": [difference(item) for item in way.actions],
    }


def difference(action):
    """Return one step back as Ansible shows differences."""
    name = action.path + ("/" if action.kind == "rmdir" else "")
    return {
        "before_header": name,
        "after_header": name + (" (removed)" if action.then.state == "absent" else ""),
        "before": (action.now.content or b"").decode("utf-8", "replace") if action.kind != "rmdir" else name + "\n",
        "after": (action.then.content or b"").decode("utf-8", "replace"),
    }


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["recorded", "completed", "reverted"], "required": True},
            "changes": {"type": "list", "elements": "dict"},
            "generation": {"type": "int"},
            "sysroot": {"type": "path"},
        },
        required_if=[("state", "recorded", ["changes"]), ("state", "completed", ["generation"])],
        supports_check_mode=True,
    )
    work = {"recorded": record, "completed": complete, "reverted": undo}[module.params["state"]]
    try:
        tree = Tree(module.params["sysroot"])
        if not tree.may_write():
            raise TreeError("needs root: run with become (numatune_become: true) or as root; nothing was changed")
        store = Store(tree)
        # What is refused is refused before anything is written, the journal's own folder included.
        with store.lock(create=False):
            result = work(module.params, tree, store, write=False)
        if not module.check_mode:
            with store.lock(create=result["changed"]):
                result = work(module.params, tree, store, write=True)
    except (NumatuneError, TreeError, OSError) as error:
        module.fail_json(msg=reason(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
