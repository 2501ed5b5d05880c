# Copyright: the numatune maintainers
# SPDX-License-Identifier: Apache-2.0
"""The settings that tags leave; core.chosen decides it."""

from __future__ import annotations

DOCUMENTATION = r"""
name: chosen
short_description: The settings that a run tunes, from its tags
version_added: "0.1.0"
description:
  - A tag that is a setting's name stands for it, C(irq_affinity) for C(irqbalance) too. C(all) stands for those that
    are tuned by default and for those in O(also).
  - A tag that is nearly a setting's name is refused; any other is a user's own, and stands for none.
positional: _input, skip, also
options:
  _input:
    description: The tags that are played.
    type: list
    elements: str
    required: true
  skip:
    description: The tags that are left out.
    type: list
    elements: str
    default: []
  also:
    description: Settings that are tuned where nobody names a tag, beside those that are by default.
    type: list
    elements: str
    default: []
author:
  - The numatune maintainers
"""

EXAMPLES = r"""
- name: Show what a run without tags tunes
  ansible.builtin.debug:
    msg: "{{ ['all'] | numatune.latency.chosen(also=['ksm']) }}"
"""

RETURN = r"""
_value:
  description: The names of the settings, in the order in which they are tuned.
  type: list
  elements: str
"""

from ansible_collections.numatune.latency.plugins.module_utils.core.chosen import chosen as chosen_by


def chosen(tags, skip=(), also=()):
    """Return the names."""
    return list(chosen_by(tags, skip, also))


class FilterModule:
    """The filters of this file."""

    def filters(self):
        """Return name -> function."""
        return {"chosen": chosen}
