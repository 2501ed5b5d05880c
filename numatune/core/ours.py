"""What is numatune's own on a host: the first line of its files, and the unit that it has."""

from __future__ import annotations

UNIT = "numatune-apply.service"


HEADER = "# Written by numatune, whose playbook revert.yml puts back what was here.\n"
