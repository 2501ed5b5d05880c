# Copyright: the numatune maintainers
# SPDX-License-Identifier: Apache-2.0
"""The options of settings that a host's variables give, `tune_SETTING_OPTION` each, as the modules take them."""

from __future__ import annotations

DOCUMENTATION = """
name: setting_options
author: the numatune maintainers
short_description: The options of settings that the variables of a host give
description:
  - Reads each C(tune_SETTING_OPTION) that a setting declares (C(numatune explain SETTING) shows them). One that is not
    set, or empty, says nothing.
  - Fails where P(numatune.latency.unknown_variables#lookup) has a line to say.
options: {}
"""

EXAMPLES = """
- name: Judge a host as its variables want it
  numatune.latency.audit_host:
    settings: "{{ lookup('numatune.latency.setting_options') }}"
"""

RETURN = """
_raw:
  description: Setting to option to value.
  type: list
  elements: dict
"""

from ansible.errors import AnsibleError
from ansible.plugins.loader import lookup_loader
from ansible.plugins.lookup import LookupBase
from ansible_collections.numatune.latency.plugins.module_utils.core.inventory import OPTIONS


class LookupModule(LookupBase):
    """Return what the variables say."""

    def run(self, terms, variables=None, **kwargs):
        """Return one mapping; raise AnsibleError for a variable that is mistyped."""
        variables = variables or {}
        unknown = self._plugin("numatune.latency.unknown_variables").run([], variables)
        if unknown:
            raise AnsibleError("; ".join(unknown))
        given = [name for name in OPTIONS if name in variables]
        values = self._plugin("ansible.builtin.vars").run(given, variables)
        found = {}
        for name, value in zip(given, values):
            of, option = OPTIONS[name]
            if value is not None:
                found.setdefault(of, {})[option] = value
        return [found]

    def _plugin(self, name):
        return lookup_loader.get(name, loader=self._loader, templar=self._templar)
