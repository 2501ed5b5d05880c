"""Hatchling hook: put the Ansible collection into the wheel, beside the package.

ansible-core looks for collections on sys.path too, so `pip install numatune` brings the playbooks along. An editable
install gets none: there the checkout is the collection, and a copy would go stale.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PLACE = "ansible_collections/numatune/latency"
# plugins/module_utils/core is a link to numatune/core: hatchling follows it, and the wheel gets the files.
PARTS = ("LICENSE", "README.md", "galaxy.yml", "meta", "plugins", "roles")


class WheelCollection(BuildHookInterface):  # type: ignore[type-arg]  # generic over a configuration that is not used
    """Adds the collection's files to a standard wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "standard":
            root = Path(self.root)
            # The links in playbooks/ are for a checkout, and one of them leads back to the root.
            playbooks = [f"playbooks/{path.name}" for path in (root / "playbooks").iterdir() if not path.is_symlink()]
            build_data["force_include"].update({str(root / part): f"{PLACE}/{part}" for part in (*PARTS, *playbooks)})
