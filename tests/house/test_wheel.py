"""What is built holds what users need and nothing else; the collection inside the wheel has the core as real files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLACE = "ansible_collections/numatune/latency"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Build the sdist, and the wheel out of it, in a copy: what is not in the sdist cannot help the wheel."""
    copy = tmp_path_factory.mktemp("checkout") / "numatune"
    ignored = shutil.ignore_patterns(
        ".git", ".venv*", "build", "dist", "hosts", ".mypy_cache", ".ruff_cache", ".ansible"
    )
    shutil.copytree(ROOT, copy, symlinks=True, ignore=ignored)
    dist = copy / "dist"
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(dist), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = dist.glob("*.whl")
    (sdist,) = dist.glob("*.tar.gz")
    return wheel, sdist


def tracked(*folders: str) -> set[str]:
    """Return the regular files under folders that belong to the project, links left out."""
    found = set()
    for folder in folders:
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and not path.is_symlink() and "__pycache__" not in path.parts:
                found.add(path.relative_to(ROOT).as_posix())
    return found


def test_the_wheel_holds_the_package_and_the_collection_and_nothing_else(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[0]) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        links = [info.filename for info in archive.infolist() if info.external_attr >> 28 == 0o12]
    package = tracked("numatune")
    core = {f"plugins/module_utils/{name.removeprefix('numatune/')}" for name in tracked("numatune/core")}
    parts = tracked("meta", "roles", "plugins") | core | {"LICENSE", "README.md", "galaxy.yml"}
    parts |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "playbooks").glob("*.yml")}
    # Directories in playbooks/ (tasks files that a user overrides) come along; links do not.
    parts |= {
        name
        for folder in (ROOT / "playbooks").iterdir()
        if folder.is_dir() and not folder.is_symlink()
        for name in tracked(f"playbooks/{folder.name}")
    }
    assert names == package | {f"{PLACE}/{part}" for part in parts}
    assert links == []


def test_the_graphs_are_in_the_wheel(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[0]) as archive:
        graphs = [
            name for name in archive.namelist() if name.startswith("numatune/bench/model/graphs/") and ".onnx" in name
        ]
    assert len(graphs) >= 2


def test_the_sdist_holds_no_stray_file(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        links = [member.name for member in archive if member.issym() or member.islnk()]
    tops = {name.partition("/")[0] for name in names}
    wanted = "numatune plugins roles playbooks meta inventory galaxy.yml ansible.cfg CHANGELOG.md LICENSE README.md"
    wanted += " CONTRIBUTING.md SECURITY.md docs pyproject.toml tools PKG-INFO .gitignore"
    assert tops == set(wanted.split())
    # README leads to them. The wheel has none: nobody reads pages in site-packages.
    assert {name for name in names if name.startswith("docs/") and "." in name} == tracked("docs")
    assert {name for name in names if name.startswith("tools/")} == {"tools/wheel_collection.py"}
    assert not [name for name in names if name.startswith("playbooks/collections") or "__pycache__" in name]
    assert links == []


@pytest.fixture(scope="module")
def installed(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bin folder of a new environment with the wheel, and with the dependencies of this one.

    The dependencies are lent by a .pth file without this environment's own .pth files, so the checkout stays out.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True, symlinks=True)
    python = folder / "bin/python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(built[0])]
    subprocess.run(install, check=True, capture_output=True, text=True)
    query = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(query, check=True, capture_output=True, text=True).stdout.strip())
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n", "utf-8")
    playbook = folder / "bin/ansible-playbook"
    playbook.write_text(f"#!{python}\nfrom ansible.cli.playbook import main\nmain()\n", "utf-8")
    playbook.chmod(0o755)
    return folder / "bin"


def run(installed: Path, empty: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the environment in an empty folder, with nothing of the checkout in its environment."""
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL") if name in os.environ}
    environ = {
        **kept,
        "PATH": f"{installed}:{os.environ['PATH']}",
        "HOME": str(empty),
        "ANSIBLE_HOME": str(empty / "a"),
    }
    environ |= {"LC_ALL": "C.UTF-8"}
    return subprocess.run(
        [str(installed / command[0]), *command[1:]],
        cwd=empty, env=environ, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_the_installed_command_is_the_wheels_own_and_audits(installed: Path, tmp_path: Path) -> None:
    where = run(installed, tmp_path, "python", "-c", "import numatune; print(numatune.__file__)")
    assert where.stdout.startswith(str(installed.parent)), where
    audit = run(installed, tmp_path, "numatune", "audit", "--format", "json")
    assert audit.returncode in (0, 1, 3), audit.stderr
    assert '"numatune/audit/1"' in audit.stdout


@pytest.mark.parametrize("name", ["audit", "tune", "revert", "bench", "qualify"])
def test_ansible_finds_the_playbooks_of_the_installed_wheel(installed: Path, tmp_path: Path, name: str) -> None:
    playbook = f"numatune.latency.{name}"
    listed = run(installed, tmp_path, "ansible-playbook", "-i", "localhost,", "--list-tasks", playbook)
    assert listed.returncode == 0, listed.stderr
    assert f"playbook: {installed.parent}" in listed.stdout
    assert f"{PLACE}/playbooks/{name}.yml" in listed.stdout


def test_the_installed_audit_playbook_judges_this_machine(installed: Path, tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.yml"
    here = f"{{ansible_connection: local, ansible_python_interpreter: {installed / 'python'}}}"
    inventory.write_text(f"all: {{hosts: {{here: {here}}}}}\n", "utf-8")
    command = ["ansible-playbook", "-i", str(inventory), "-e", "numatune_become=false", "numatune.latency.audit"]
    played = run(installed, tmp_path, *command)
    assert played.returncode == 0, played.stdout + played.stderr
    assert "changed=0" in played.stdout
