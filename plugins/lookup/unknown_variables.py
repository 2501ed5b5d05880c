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
import functools
from pathlib import Path

import yaml
from ansible.plugins.lookup import LookupBase

# What the playbooks read beside the roles' variables, and what they keep.
PLAYBOOKS = frozenset(
    f"numatune_{name}"
    for name in "become benchmark drain_tasks hosts housekeeping_cpus max_fail_percentage profile results_dir revert_to"
    " reverted serial serving_cpus sysroot undrain_tasks".split()
)
# Their names are everyday words, and a user's own variables may begin with them.
_EVERYDAY = ("audit", "reboot", "benchmark")


class LookupModule(LookupBase):
    """Return what is mistyped."""

    def run(self, terms, variables=None, **kwargs):
        """Return a line for each variable of this host that has numatune's name and is unknown."""
        roles, known = _declared()
        ours = tuple(f"{name}_" for name in ("numatune", *roles))
        unknown = sorted(name for name in variables or {} if name not in known and not name.startswith("_"))
        lines = (_line(name, known, name.startswith(ours)) for name in unknown)
        return [line for line in lines if line] + _options(variables or {})


@functools.cache
def _declared():
    """Return the roles whose names mark a variable as numatune's, and every variable that there is."""
    folders = sorted((Path(__file__).parents[2] / "roles").iterdir())
    known = set(PLAYBOOKS)
    for folder in folders:
        specs = yaml.safe_load((folder / "meta/argument_specs.yml").read_text("utf-8"))["argument_specs"]
        known.update(name for entry in specs.values() for name in entry.get("options", {}))
        # What a role registers stays where a run plays several playbooks.
        known.add(f"{folder.name}_result")
    return [folder.name for folder in folders if folder.name not in _EVERYDAY], frozenset(known)


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


def _line(name, known, ours):
    """Return what to say of an unknown name, "" for one that is a user's own."""
    # Of all other variables a host may have thousands: look at those that end like one of numatune's.
    if not ours and name.rpartition("_")[2] not in {word.rpartition("_")[2] for word in known}:
        return ""
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.7 if ours else 0.9)
    if not (ours or near):
        return ""
    return f"numatune has no variable {name}" + (f": did you mean {near[0]}?" if near else "")
