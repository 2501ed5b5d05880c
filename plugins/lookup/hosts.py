# Copyright: the numatune maintainers
# SPDX-License-Identifier: Apache-2.0
"""The hosts that a playbook plays on; a pattern that matches none is an error, not a run that did its work."""

from __future__ import annotations

DOCUMENTATION = """
name: hosts
author: the numatune maintainers
short_description: The pattern of the hosts to play on, refused where it matches none
description:
  - Ansible ends a play without hosts as a success. A mistyped pattern would then look like a fleet that is tuned.
options:
  _terms:
    description: A hosts pattern, as C(hosts) takes it.
    required: true
  here:
    description: Whether to play on this machine where no inventory was given at all.
    type: bool
    default: false
"""

EXAMPLES = """
- name: Play on what the user names
  hosts: "{{ lookup('numatune.latency.hosts', numatune_hosts | default('all')) }}"
"""

RETURN = """
_raw:
  description: The pattern.
  type: list
"""

from ansible import context
from ansible.errors import AnsibleError
from ansible.plugins.loader import lookup_loader
from ansible.plugins.lookup import LookupBase

# What Ansible takes for an inventory where none was given.
_NONE_GIVEN = ["/etc/ansible/hosts"]


class LookupModule(LookupBase):
    """Return a hosts pattern that matches something."""

    def run(self, terms, variables=None, **kwargs):
        """Return the pattern; raise AnsibleError where it matches no host."""
        self.set_options(var_options=variables, direct=kwargs)
        variables = variables or {}
        pattern = terms[0] if isinstance(terms[0], str) else ",".join(terms[0])
        if context.CLIARGS.get("syntax"):
            # A check of the syntax, as ansible-lint and molecule make one, has no inventory of the user's.
            return [pattern]
        known = variables.get("groups", {}).get("all", [])
        sources = list(variables.get("ansible_inventory_sources") or [])
        if not known and self.get_option("here") and sources == _NONE_GIVEN:
            return ["localhost"]
        if not known:
            raise AnsibleError("the inventory has no hosts: give one that has with -i")
        matching = lookup_loader.get("ansible.builtin.inventory_hostnames", loader=self._loader, templar=self._templar)
        if not matching.run([pattern], variables):
            raise AnsibleError(
                f"numatune_hosts={pattern} matches no host of the inventory: ansible-inventory --graph shows them"
            )
        return [pattern]
