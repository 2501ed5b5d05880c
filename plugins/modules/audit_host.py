#!/usr/bin/python
# Copyright: the numatune maintainers
# SPDX-License-Identifier: Apache-2.0
"""Collect, judge and plan on the target, through numatune's core."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: audit_host
short_description: Judge this host for causes of latency jitter, and plan what would remove them
version_added: "0.1.0"
description:
  - Reads the host with numatune's read-only collector, judges every setting of a profile, and plans the changes that
    C(tune.yml) would make. It never changes anything.
  - Without root it still reports; what only root can read is C(unknown), which is never C(ok).
options:
  profile:
    description:
      - What is wanted, as the name of a built-in profile or as a mapping with the keys of a profile file (C(name),
        C(extends), C(description), C(cpus), C(settings), C(waivers)).
    type: raw
    default: inference-latency
  serving_cpus:
    description:
      - The CPUs that serve requests, as a kernel list (C("2-7,10")) or a YAML list. Empty means from the topology.
    type: raw
  housekeeping_cpus:
    description:
      - The CPUs that keep house (interrupts, daemons), in the same form. Empty means from the topology.
    type: raw
  sysroot:
    description:
      - Judge the tree at this path, which stands for a whole host, instead of the running one. For tests and images.
    type: path
attributes:
  check_mode:
    support: full
    description: Runs the same, since it changes nothing.
  diff_mode:
    support: none
    description: There is nothing to show a difference of.
author:
  - The numatune maintainers
"""

EXAMPLES = r"""
- name: Audit with the CPU roles of the inventory
  numatune.latency.audit_host:
    serving_cpus: 2-7
    housekeeping_cpus: 0-1
  register: audited

- name: Show what is wrong
  ansible.builtin.debug:
    msg: "{{ audited.summary }}"
"""

RETURN = r"""
report:
  description: The host's C(status), C(facts), C(findings) and C(notes), as C(numatune audit --format json) has them.
  returned: success
  type: dict
plan:
  description: What tuning would do, as C(changes), C(conflicts) that forbid it, and findings that are C(left).
  returned: success
  type: dict
boot_id:
  description: The id of the running boot.
  returned: success
  type: str
summary:
  description: The report and the plan as lines for a person, what is wrong first.
  returned: success
  type: list
  elements: str
"""

import datetime
import os
import stat

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.numatune.latency.plugins.module_utils.core.audit import judge
from ansible_collections.numatune.latency.plugins.module_utils.core.collector import script
from ansible_collections.numatune.latency.plugins.module_utils.core.errors import InputError, NumatuneError
from ansible_collections.numatune.latency.plugins.module_utils.core.plan import make_plan
from ansible_collections.numatune.latency.plugins.module_utils.core.profile import from_mapping
from ansible_collections.numatune.latency.plugins.module_utils.core.replay import collect
from ansible_collections.numatune.latency.plugins.module_utils.core.snapshot import parse_stream
from ansible_collections.numatune.latency.plugins.module_utils.summary import summarize
from ansible_collections.numatune.latency.plugins.module_utils.tree import Tree, TreeError, reason

_KINDS = ((stat.S_ISREG, "file"), (stat.S_ISDIR, "dir"), (stat.S_ISLNK, "link"))


class Sysroot:
    """The raw operations that the core's replay asks of a tree; the core keeps them inside it."""

    def __init__(self, root):
        self._root = root

    def kind(self, path):
        """Say what a path is, links not followed."""
        try:
            mode = os.lstat(os.path.join(self._root, path)).st_mode
        except PermissionError:
            return "denied"
        except OSError:
            return "absent"
        return next((name for test, name in _KINDS if test(mode)), "other")

    def readlink(self, path):
        """Return where a link points."""
        return os.readlink(os.path.join(self._root, path))

    def listdir(self, path):
        """Return the names in a directory."""
        return os.listdir(os.path.join(self._root, path))

    def read(self, path):
        """Return a file's bytes."""
        with open(os.path.join(self._root, path), "rb") as handle:
            return handle.read()


def wanted(params):
    """Make the profile from the module's options; the inventory's CPU roles win over the profile's."""
    profile = params["profile"]
    mapping = dict(profile) if isinstance(profile, dict) else {"extends": profile}
    cpus = mapping.get("cpus") or {}
    if not isinstance(cpus, dict):
        raise InputError("cpus: a mapping is wanted, not " + type(cpus).__name__)
    roles = {role: params[role + "_cpus"] for role in ("serving", "housekeeping")}
    cpus = {**cpus, **{role: value for role, value in roles.items() if value not in (None, "", [])}}
    return from_mapping({**mapping, "cpus": cpus})


def snapshot_of(module, tree):
    """Read the running host through the collector's script, or a sysroot through the same list."""
    if tree.root:
        found = collect(Sysroot(tree.root), complete=True)
        if not found.files:
            raise TreeError(
                f"{tree.root} holds nothing that numatune reads: sysroot must be a tree with etc, proc and sys"
            )
        return found
    # Bytes, because files such as /proc/cmdline need not be UTF-8.
    code, out, err = module.run_command(["sh", "-s"], data=script(), environ_update={"LC_ALL": "C"}, encoding=None)
    if code:
        detail = err.decode("utf-8", "replace").strip().splitlines()
        raise TreeError(f"the collector ended with code {code}: {detail[-1] if detail else 'no message'}")
    return parse_stream(out.decode("utf-8", "backslashreplace"))


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "profile": {"type": "raw", "default": "inference-latency"},
            "serving_cpus": {"type": "raw"},
            "housekeeping_cpus": {"type": "raw"},
            "sysroot": {"type": "path"},
        },
        supports_check_mode=True,
    )
    try:
        profile = wanted(module.params)
        tree = Tree(module.params["sysroot"])
        snapshot = snapshot_of(module, tree)
        today = datetime.date.today()
        report = judge(snapshot, profile, today=today).as_dict()
        plan = make_plan(snapshot, profile, today=today).as_dict()
    except (NumatuneError, TreeError, OSError) as error:
        module.fail_json(msg=reason(error))
    module.exit_json(changed=False, report=report, plan=plan, boot_id=tree.boot_id(), summary=summarize(report, plan))


if __name__ == "__main__":
    main()
