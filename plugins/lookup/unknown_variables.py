# Copyright: the numatune maintainers
# SPDX-License-Identifier: Apache-2.0
"""Variables that are named like numatune's own and are none of them: a typo would leave the default in force."""

from __future__ import annotations

DOCUMENTATION = """
name: unknown_variables
author: the numatune maintainers
short_description: A line for each variable that has a name like numatune's own and that nothing reads
description:
  - Looks at C(numatune_*) and C(tune_SETTING_*), at names that had a meaning before the role C(tune) took the place of
    six, and at what is nearly a name of ours. The names come from the roles' argument specifications.
  - Says so too where a variable cannot be what it is, as C(audit_fail_on) with a word that is none of its own.
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
import functools
from pathlib import Path

import yaml
from ansible.plugins.lookup import LookupBase
from ansible_collections.numatune.latency.plugins.module_utils.core.variables import unknown


class LookupModule(LookupBase):
    """Return what is mistyped."""

    def run(self, terms, variables=None, **kwargs):
        """Return a line for each variable of this host that has numatune's name and is unknown."""
        given = variables or {}
        return [*unknown(map(str, given)).values(), *_options(given), *_words(given)]


@functools.cache
def _spec(role):
    """Return the options of a role: name to what its specification says."""
    text = (Path(__file__).parents[2] / "roles" / role / "meta/argument_specs.yml").read_text("utf-8")
    return yaml.safe_load(text)["argument_specs"]["main"]["options"]


def _options(variables):
    """Return a line for each option of the benchmark that there is not; the role's own check would print pages."""
    declared = _spec("benchmark")["benchmark_options"]["options"]
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


def _words(variables):
    """Return a line for each variable of the roles that a playbook calls that cannot be what it is.

    Options of settings are the core's to judge, which has more to say.
    """
    lines = []
    for name, option in {**_spec("audit"), **_spec("tune")}.items():
        value, choices = variables.get(name), option.get("choices")
        # A template is what it comes to, which the task that reads it sees.
        if value in (None, "") or "{{" in str(value):
            continue
        if name.startswith("audit_") and choices and value not in choices:
            lines.append(f"{name}: one of {', '.join(choices)} is wanted, not {value!r}")
        elif option["type"] == "dict" and not isinstance(value, dict):
            lines.append(f"{name}: a mapping is wanted, not {value!r}")
    return lines
