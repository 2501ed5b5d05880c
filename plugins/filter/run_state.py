# Copyright: the numatune maintainers
# SPDX-License-Identifier: Apache-2.0
"""What became of a host in a run, from its latest audit; core.run_state decides it."""

from __future__ import annotations

DOCUMENTATION = r"""
name: run_state
short_description: What became of a host, and whether it serves when the run ends
version_added: "0.1.0"
description:
  - For the playbooks of this collection. The input is the latest result of M(numatune.latency.audit_host).
positional: _input
options:
  _input:
    description: The result of the audit.
    type: dict
    required: true
  chosen:
    description: The settings that the run tunes.
    type: list
    elements: str
    required: true
  everything:
    description: Those that a run without tags tunes.
    type: list
    elements: str
    required: true
  check:
    description: Whether the run only looks.
    type: bool
    default: false
  marked:
    description: Whether this run left its mark on the host.
    type: bool
    default: false
  earlier:
    description: The mark that this run found, once its own took that place.
    type: dict
  held:
    description: Whether the playbook itself holds the host out of service.
    type: bool
    default: false
  hook:
    description: Whether a hook is given that puts the host back into service.
    type: bool
    default: false
  state:
    description: The state that was noted last.
    type: str
    default: ""
  playbook:
    description: The playbook that runs.
    type: str
    default: tune
author:
  - The numatune maintainers
"""

EXAMPLES = r"""
- name: Show what became of the host
  ansible.builtin.debug:
    msg: "{{ (audit_result | numatune.latency.run_state(chosen=['ksm'], everything=['ksm'])).became }}"
"""

RETURN = r"""
_value:
  description: C(became), C(because), C(returns), C(kept), C(held_out), C(stays_out), C(outcome) and C(part_of_cut).
  type: dict
"""

from ansible_collections.numatune.latency.plugins.module_utils.core.run_state import Asked
from ansible_collections.numatune.latency.plugins.module_utils.core.run_state import run_state as state_of


def run_state(audit, **asked):
    """Return the state as a mapping."""
    return state_of(audit, Asked(**asked))._asdict()


class FilterModule:
    """The filters of this file."""

    def filters(self):
        """Return name -> function."""
        return {"run_state": run_state}
