# Copyright: the numatune maintainers
# SPDX-License-Identifier: Apache-2.0
"""The options that say what is wanted of a host, for every module that judges one."""

from __future__ import annotations


class ModuleDocFragment:
    """Found by Ansible by its name."""

    DOCUMENTATION = r"""
options:
  profile:
    description:
      - What is wanted, as the name of a built-in profile or as a mapping with the keys of a profile file (C(name),
        C(extends), C(description), C(cpus), C(settings), C(waivers)).
    type: raw
    default: inference-latency
  settings:
    description:
      - Options of settings that win over those of the profile, as setting to option to value. An option that is empty
        or null says nothing, and a setting that the profile turns off stays off.
    type: dict
    default: {}
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
      - The tree at this path stands for the whole host, instead of the running one. For tests and images.
    type: path
"""
