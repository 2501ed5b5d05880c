# Copyright: the numatune maintainers
# SPDX-License-Identifier: Apache-2.0
"""A host's name as the name of a file, of which no two hosts have the same."""

from __future__ import annotations

DOCUMENTATION = r"""
name: file_name
short_description: A host's name as the name of a file
version_added: "0.1.0"
description:
  - The name itself where it can be a file's. Any other has its odd signs replaced, and a digest of the whole behind it,
    so that C(a/b) and C(a_b) do not share a file. C(numatune collect) names its files so, too.
positional: _input
options:
  _input:
    description: The host's name.
    type: str
    required: true
author:
  - The numatune maintainers
"""

EXAMPLES = r"""
# a_b-c14cddc033
- name: Name a host's file
  ansible.builtin.debug:
    msg: "{{ 'a/b' | numatune.latency.file_name }}"
"""

RETURN = r"""
_value:
  description: The file's name, without an ending.
  type: str
"""

from ansible_collections.numatune.latency.plugins.module_utils.core.names import file_name


class FilterModule:
    """The filters of this file."""

    def filters(self):
        """Return name -> function."""
        return {"file_name": file_name}
