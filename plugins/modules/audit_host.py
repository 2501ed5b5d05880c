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
extends_documentation_fragment:
  - numatune.latency.host
options:
  tuned:
    description:
      - The settings that are planned. Where none is named, those of the profile that are tuned by default (C(numatune
        settings) names them). What several of them need is planned for the first.
    type: list
    elements: str
    default: []
  under_way:
    description: Whether a run that changes this host asks. Its own mark on the host then is no finding.
    type: bool
    default: false
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
transactions:
  description:
    - The settings that have changes or conflicts, in the order in which they are tuned; those in one list are changed
      in one transaction, C(only) of M(numatune.latency.tune_host).
  returned: success
  type: list
  elements: list
boot_id:
  description: The id of the running boot.
  returned: success
  type: str
serving_cpus:
  description: The CPUs that serve, as a kernel list; empty where all do.
  returned: success
  type: str
interrupted:
  description: The generations of the journal whose run of tune, or whose revert, was interrupted.
  returned: success
  type: list
  elements: int
run:
  description:
    - The mark of a run that was cut, is under way, or left the host out of service, as C(playbook), C(began),
      C(drained), C(done), C(ended) and C(at); empty without one. Of a mark that numatune did not write, C(odd) says so
      in one line.
  returned: success
  type: dict
reboot:
  description: The settings that are right on disk and wait for a reboot.
  returned: success
  type: list
  elements: str
stuck:
  description: Of these, what a reboot since it was written did not bring, one line each; another would not either.
  returned: success
  type: list
  elements: str
summary:
  description: The report and the plan as lines for a person, what is wrong first, in the words of C(numatune audit).
  returned: success
  type: list
  elements: str
brief:
  description: What is not right, what is refused and what is left to a person, without reasons.
  returned: success
  type: list
  elements: str
would:
  description: What C(tune.yml) would do, one line each, below what C(brief) says of it.
  returned: success
  type: list
  elements: str
"""

import datetime

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.numatune.latency.plugins.module_utils.core.audit import judge_host
from ansible_collections.numatune.latency.plugins.module_utils.core.chosen import transactions
from ansible_collections.numatune.latency.plugins.module_utils.core.errors import NumatuneError
from ansible_collections.numatune.latency.plugins.module_utils.core.host import Host
from ansible_collections.numatune.latency.plugins.module_utils.core.plan import plan_host
from ansible_collections.numatune.latency.plugins.module_utils.core.reboots import awaited
from ansible_collections.numatune.latency.plugins.module_utils.core.report_lines import brief, summary, would
from ansible_collections.numatune.latency.plugins.module_utils.core.undo import runs
from ansible_collections.numatune.latency.plugins.module_utils.reading import OPTIONS, shown, snapshot_of, wanted
from ansible_collections.numatune.latency.plugins.module_utils.store import Store
from ansible_collections.numatune.latency.plugins.module_utils.tree import Tree, reason


def not_brought(tree, report, plan, tuned, waits):
    """Return a line for each setting that waits for a reboot although there was one since numatune wrote it.

    Kernel arguments judge that themselves, by what their own records say: a run that was cut may write them late.
    """
    planned = {change.setting for change in plan.changes} | {"kernel_arguments"}
    asked = [name for name in waits if name not in planned and (not tuned or name in tuned)]
    waiting = {item["setting"]: item for item in report["findings"] if item["setting"] in asked}
    if not waiting or not tree.may_write():
        return []
    last = {}
    for generation in Store(tree).read():
        if generation.state == "completed":
            last.update({entry.setting: generation for entry in generation.entries if not entry.back})
    found = []
    for name, item in waiting.items():
        generation = last.get(name)
        if generation is not None and generation.boot_id != tree.boot_id():
            where = item["evidence"][-1] if item["evidence"] else {"path": "the configuration", "text": ""}
            found.append(
                f"{name}: written in generation {generation.number}, and the boot since then came without it "
                f"(runs: {item['runtime']}); {where['path']} holds: {where['text']}"
            )
    return found


def marked(snapshot):
    """Return the mark of a run, or why what stands in its place is none."""
    try:
        mark = runs.mark(snapshot)
    except NumatuneError as error:
        return {"odd": str(error)}
    return mark.as_dict() if mark else {}


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **OPTIONS,
            "tuned": {"type": "list", "elements": "str", "default": []},
            "under_way": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        profile = wanted(module.params)
        tree = Tree(module.params["sysroot"])
        snapshot = snapshot_of(module, tree)
        today = datetime.date.today()
        host = Host(snapshot, profile)
        judged = judge_host(host, today, under_way=module.params["under_way"])
        report = judged.as_dict()
        plan = plan_host(host, judged.findings, module.params["tuned"] or None)
        roles, waits = host.roles, list(awaited(host, judged.findings))
    except (NumatuneError, OSError) as error:
        module.fail_json(msg=shown(reason(error)))
    result = {
        "changed": False,
        "report": report,
        "plan": plan.as_dict(),
        "transactions": [
            list(names) for names in transactions({item.setting for item in plan.changes + plan.conflicts})
        ],
        "boot_id": tree.boot_id(),
        "serving_cpus": str(roles.serving) if roles.split else "",
        "interrupted": list(runs.interrupted(snapshot)),
        "run": marked(snapshot),
        "stuck": not_brought(tree, report, plan, module.params["tuned"], waits),
        "reboot": waits,
        "summary": summary(judged, plan),
        "brief": brief(judged, plan),
        "would": would(plan)[1:],
    }
    module.exit_json(**shown(result))


if __name__ == "__main__":
    main()
