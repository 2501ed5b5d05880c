"""The variables of an Ansible inventory that numatune has, and what to say of one that is nearly one of them.

A variable that is mistyped would leave the default in force. The playbooks ask this table by the lookup
`unknown_variables`, the command line where it reads an inventory; a test holds it equal to what the roles declare and
the playbooks read.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from functools import lru_cache

from .catalogue import names as setting_names
from .inventory import OPTIONS

PLAYBOOKS = frozenset(
    f"numatune_{name}"
    for name in "become benchmark drain_tasks hosts housekeeping_cpus max_fail_percentage profile results_dir revert_to"
    " reverted serial serving_cpus sysroot undrain_tasks".split()
)
"""What the playbooks read beside the roles' variables, and what they keep."""

KEPT = frozenset(
    f"tune_{name}" for name in "away earlier everything held lost marked now reason run seen state to_do waits".split()
)
"""What tune.yml and qualify.yml keep between tasks, and for the playbooks that follow in the same run."""

# Role to what its variables are named behind the role's own name, the options of settings left out.
_ROLES: Mapping[str, str] = {
    "tune": "also profile serving_cpus housekeeping_cpus chosen only audit settings sysroot",
    "audit": "profile serving_cpus housekeeping_cpus settings tuned fail_on report_dir sysroot",
    "benchmark": "label launches options cpus results_dir packages wheels trusted_wheels pack_dir python cache_home"
    " keep throttle timeout",
    "reboot": "ok required boot_id stuck timeout sysroot",
}
ROLES = frozenset((*OPTIONS, *(f"{role}_{name}" for role, names in _ROLES.items() for name in names.split())))
"""The variables of the roles."""

# What a role registers stays where a run plays several playbooks.
_KNOWN = PLAYBOOKS | KEPT | ROLES | {f"{role}_result" for role in _ROLES}
# The roles that there were before the role tune: of their variables some inventories may tell yet.
_BEFORE = ("core_isolation", "cpu_governor", "cpu_idle", "irq_affinity", "kernel_arguments", "numa_balancing")
# The roles' names are everyday words, and a user's own variables may begin with them.
_OURS = ("numatune_", *(f"{role}_" for role in _BEFORE), *(f"tune_{name}_" for name in setting_names()))
# A setting's name without an option of it is the slip that is made most.
_SETTINGS = frozenset(f"tune_{name}" for name in setting_names())
# What the playbooks keep for themselves is nothing that a user meant.
_MEANT = sorted(PLAYBOOKS | ROLES)
_ENDS = frozenset(name.rpartition("_")[2] for name in _KNOWN)


def unknown(names: Iterable[str]) -> dict[str, str]:
    """Return the variables that are named like numatune's and are none of them, sorted: name to what to say of it."""
    said = ((name, _said(name)) for name in sorted(names))
    return {name: line for name, line in said if line}


@lru_cache(maxsize=10_000)  # the hosts of a fleet have the same names
def _said(name: str) -> str:
    """Return what to say of a name: "" for one that numatune has, and for a user's own."""
    if name in _KNOWN or name.startswith("_"):
        return ""
    # Of all other variables a host may have thousands: look at those that begin or end like one of numatune's.
    ours = name.startswith(_OURS) or name in _SETTINGS
    if not ours and not name.startswith("tune_") and name.rpartition("_")[2] not in _ENDS:
        return ""
    # Where the name of a role stood, the names of the role tune and of the setting stand now.
    # All else behind "tune_" is an everyday word (profile, state, settings), and a user's own.
    near = [f"tune_{name}"] if f"tune_{name}" in OPTIONS else []
    # Of a setting's bare name, the option that says its value, else its first.
    near = near or [known for known, (of, _) in OPTIONS.items() if name == f"tune_{of}"][:1]
    for meant, known in ((name, _MEANT), (f"tune_{name}", sorted(OPTIONS))):
        near = near or difflib.get_close_matches(meant, known, n=1, cutoff=_cutoff(name, ours))
    if not (ours or near):
        return ""
    return f"numatune has no variable {name}" + (f": did you mean {near[0]}?" if near else "")


def _cutoff(name: str, ours: bool) -> float:
    # Two letters of a short name that changed places are a slip too (tune_alos).
    return 0.7 if ours else 0.85 if name.startswith("tune_") else 0.9
