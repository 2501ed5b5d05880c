# Copyright: the numatune maintainers
# SPDX-License-Identifier: Apache-2.0
"""Variables that are named like numatune's own and are none of them: a typo would leave the default in force."""

from __future__ import annotations

DOCUMENTATION = """
name: unknown_variables
author: the numatune maintainers
short_description: A line for each variable that has a name like numatune's own and that nothing reads
description:
  - Looks at C(numatune_*), and at what begins with the name of a role that changes a setting. The names come from the
    roles' argument specifications.
options: {}
"""

EXAMPLES = """
- ansible.builtin.fail:
    msg: "{{ query('numatune.latency.unknown_variables') | join('; ') }}"
  when: query('numatune.latency.unknown_variables') | length > 0
"""

RETURN = """
_raw:
  description: The lines; empty where every name is known.
  type: list
  elements: str
"""

import difflib
from pathlib import Path

import yaml
from ansible.plugins.lookup import LookupBase
from ansible_collections.numatune.latency.plugins.module_utils.core.variables import unknown


class LookupModule(LookupBase):
    """Return what is mistyped."""

    def run(self, terms, variables=None, **kwargs):
        """Return a line for each variable of this host that has numatune's name and is unknown."""
        return [*unknown(map(str, variables or {})).values(), *_options(variables or {})]


def _options(variables):
    """Return a line for each option of the benchmark that there is not; the role's own check would print pages."""
    spec = Path(__file__).parents[2] / "roles/benchmark/meta/argument_specs.yml"
    declared = yaml.safe_load(spec.read_text("utf-8"))["argument_specs"]["main"]["options"]["benchmark_options"][
        "options"
    ]
    lines = []
    for name, more in (("benchmark_options", []), ("numatune_benchmark", ["cpus"])):
        given, known = variables.get(name), sorted([*declared, *more])
        for key in [key for key in given if key not in known] if isinstance(given, dict) else []:
            near = difflib.get_close_matches(str(key), known, n=1)
            lines.append(
                f"{name} has no option {key}: "
                + (f"did you mean {near[0]}?" if near else f"there is {', '.join(known)}")
            )
    return lines
