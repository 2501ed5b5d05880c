#!/usr/bin/python
# Copyright: the numatune maintainers
# SPDX-License-Identifier: Apache-2.0
"""Write one value to the running kernel and read it back."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: runtime_value
short_description: Set one value of the running kernel, and prove that it took
version_added: "0.1.0"
description:
  - Writes one file under C(/proc) or C(/sys), reads it back, and fails when the kernel did not take the value.
  - The file must exist; it is never created and never replaced by another file.
  - The value lasts until the next boot; write a drop-in as well to keep it.
options:
  path:
    description: The kernel file, below C(/proc) or C(/sys).
    type: path
    required: true
  content:
    description: What to write. White space around the value does not count when it is compared.
    type: str
    required: true
  sysroot:
    description: The tree that holds C(proc) and C(sys), instead of the running kernel. For tests and images.
    type: path
attributes:
  check_mode:
    support: full
    description: Predicts whether the value would be written.
  diff_mode:
    support: full
    description: Shows the value before and after.
author:
  - The numatune maintainers
"""

EXAMPLES = r"""
- name: Turn automatic NUMA balancing off until the next boot
  numatune.latency.runtime_value:
    path: /proc/sys/kernel/numa_balancing
    content: "0"
"""

RETURN = r"""
before:
  description: The value that was there.
  returned: success
  type: str
after:
  description: The value that is there now, or would be in check mode.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.numatune.latency.plugins.module_utils.tree import Tree, TreeError, reason


def apply(module, tree):
    """Write what differs; return the module's result."""
    path, content = module.params["path"], module.params["content"].encode()
    before = tree.value(path)
    after = before
    changed = before.strip() != content.strip()
    if changed and not module.check_mode:
        try:
            tree.write_value(path, content)
        except OSError as error:
            raise TreeError(f"the kernel refused {_text(content)!r} in {path}: {error.strerror}") from None
        after = tree.value(path)
        if after.strip() != content.strip():
            raise TreeError(
                f"{path} still holds {_text(after)!r} after {_text(content)!r} was written: "
                "the kernel or another program does not take it"
            )
    elif changed:
        after = content
    diff = {"before_header": path, "after_header": path, "before": _line(before), "after": _line(after)}
    return {"changed": changed, "before": _text(before), "after": _text(after), "diff": diff}


def _text(value):
    return value.decode("utf-8", "replace").strip()


def _line(value):
    return _text(value) + "\n"


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "content": {"type": "str", "required": True},
            "sysroot": {"type": "path"},
        },
        supports_check_mode=True,
    )
    try:
        result = apply(module, Tree(module.params["sysroot"]))
    except (TreeError, OSError) as error:
        module.fail_json(msg=reason(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
