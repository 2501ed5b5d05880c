"""Dependencies point one way, the core is pure, and what runs on targets is Python 3.9; each rule is shown to bite."""

from __future__ import annotations

from pathlib import Path

import pytest
from house.rules import violations

ROOT = Path(__file__).parents[2]


def sources() -> list[Path]:
    """Return every Python file under the rules; the link to the core inside the collection is not walked again."""
    found = sorted(ROOT.glob("numatune/**/*.py"))
    found += [path for path in sorted(ROOT.glob("plugins/**/*.py")) if "module_utils/core" not in path.as_posix()]
    return found


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_file_keeps_the_house_rules(path: Path) -> None:
    assert violations(path.relative_to(ROOT).as_posix(), path.read_text("utf-8")) == []


def test_the_rules_see_the_core_and_the_plugins() -> None:
    places = {path.relative_to(ROOT).as_posix() for path in sources()}
    assert "numatune/core/errors.py" in places
    assert any(place.startswith("plugins/modules/") for place in places)


def test_the_collection_reads_the_same_core() -> None:
    link = ROOT / "plugins/module_utils/core"
    assert link.is_symlink()
    assert link.readlink().as_posix() == "../../numatune/core"


BROKEN = [
    ("numatune/core/a.py", "import os"),
    ("numatune/core/a.py", "def f():\n    import subprocess"),
    ("numatune/core/a.py", "from pathlib import Path"),
    ("numatune/core/a.py", "import yaml"),
    ("numatune/core/a.py", "from numatune.core.model import Reading"),
    ("numatune/core/a.py", "from ..transport import local"),
    ("numatune/core/settings/a.py", "from ...cli import main"),
    ("numatune/core/a.py", "from .. import __version__"),
    ("numatune/core/a.py", "text = open('/etc/fstab').read()"),
    ("numatune/core/a.py", "print('x')"),
    ("numatune/core/a.py", "input()"),
    ("numatune/core/a.py", "__import__('os')"),
    ("numatune/core/a.py", "import datetime\nx = datetime.datetime.now()"),
    ("numatune/core/a.py", "from datetime import date\nx = date.today()"),
    ("numatune/core/a.py", "match x:\n    case 1: pass"),
    ("numatune/core/a.py", "for a, b in zip(x, y, strict=True): pass"),
    ("numatune/core/a.py", "from dataclasses import dataclass\n@dataclass(slots=True)\nclass A: pass"),
    ("numatune/bench/a.py", "match x:\n    case 1: pass"),
    ("numatune/bench/a.py", "from ..core import cpuset"),
    ("numatune/bench/a.py", "from numatune import __version__"),
    ("numatune/bench/a.py", "import scipy"),
    ("numatune/bench/a.py", "print('x')"),
    ("numatune/transport/local.py", "from ..cli import main"),
    ("numatune/transport/local.py", "from numatune.report import text"),
    ("numatune/transport/local.py", "import paramiko"),
    ("numatune/fleet/a.py", "import fabric"),
    ("numatune/cli/a.py", "from paramiko import SSHClient"),
    ("numatune/report/text.py", "from ..core import audit"),
    ("numatune/report/text.py", "from ..transport import local"),
    ("numatune/report/text.py", "import sys\nsys.stdout.write('x')"),
    ("numatune/report/text.py", "raise SystemExit(1)"),
    ("numatune/verdict/a.py", "import sys\nsys.exit(1)"),
    ("numatune/verdict/a.py", "from ..cli.errors import CliError"),
    ("numatune/store/a.py", "from ..report import text"),
    ("numatune/a.py", "from .cli import main"),
    ("plugins/modules/a.py", "import numatune.core"),
    ("plugins/modules/a.py", "import yaml"),
    ("plugins/modules/a.py", "from ansible.plugins.action import ActionBase"),
    ("plugins/modules/a.py", "from ansible_collections.ansible.posix.plugins.module_utils import mount"),
    ("plugins/modules/a.py", "match x:\n    case 1: pass"),
    ("plugins/lookup/a.py", "import numatune.core"),
]


@pytest.mark.parametrize(("place", "source"), BROKEN, ids=lambda text: text.replace("\n", "; "))
def test_each_rule_bites(place: str, source: str) -> None:
    assert len(violations(place, source)) >= 1


KEPT = [
    ("numatune/core/a.py", "from __future__ import annotations\nimport re\nfrom .model import Reading"),
    ("numatune/core/settings/a.py", "from ..parsers import sysctl\nfrom collections.abc import Iterable"),
    ("numatune/bench/a.py", "import os\nimport numpy as np\nfrom .errors import BenchError\nopen('/proc/self/stat')"),
    ("numatune/bench/__main__.py", "import sys\nprint('x')\nsys.exit(1)"),
    ("numatune/__main__.py", "import sys\nfrom .cli import main\nsys.exit(main())"),
    ("numatune/transport/ssh.py", "import paramiko\nfrom ..core.model import Reading"),
    ("numatune/transport/ssh/pool.py", "import fabric"),
    ("numatune/report/text.py", "from ..core.model import Reading\nfrom .. import __version__"),
    ("numatune/cli/audit.py", "from ..report import text\nprint('x')\nmatch x:\n    case 1: pass"),
    (
        "plugins/modules/a.py",
        "import os\nfrom ansible_collections.numatune.latency.plugins.module_utils.core import audit\nopen('x')",
    ),
    ("plugins/modules/a.py", "from ansible.module_utils.basic import AnsibleModule"),
    ("plugins/modules/a.py", "from ..module_utils.core import audit"),
    ("plugins/lookup/a.py", "import yaml\nfrom ansible.plugins.lookup import LookupBase"),
]


@pytest.mark.parametrize(("place", "source"), KEPT, ids=lambda text: text.replace("\n", "; "))
def test_what_is_allowed_passes(place: str, source: str) -> None:
    assert violations(place, source) == []
