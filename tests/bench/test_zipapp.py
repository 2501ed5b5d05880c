"""The recorder as one file with its wheels, on a Python that has neither pip nor packages; and what a pack refuses."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from measuring import calm_python, repack

from numatune.bench.errors import BenchError
from numatune.bench.packages import bundled, wheels
from numatune.bench.packages.locks import LOCKS, WHEELS, lock_for
from numatune.cli import main, pack, packing

HERE = sys.version_info[:2]
ARCH = os.uname().machine
TINY = ("--model", "resnet50", "--size", "32", "--iterations", "5", "--cpus", str(min(os.sched_getaffinity(0))))


def made_wheel(folder: Path, package: str, version: str, tags: str = "", inside: str = "") -> Path:
    """A wheel with one module, as small as can be."""
    tags = tags or f"cp{HERE[0]}{HERE[1]}-cp{HERE[0]}{HERE[1]}-manylinux_2_28_{ARCH}"
    path = folder / f"{package}-{version}-{tags}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{package}/__init__.py", "VALUE = 1\n")
        head = f"Metadata-Version: 2.1\nName: {inside or package}\nVersion: {version}\n"
        archive.writestr(f"{package}-{version}.dist-info/METADATA", head)
    return path


def made_wheels(folder: Path) -> list[Path]:
    """One for each package of the lock of this Python."""
    folder.mkdir(exist_ok=True)
    return [made_wheel(folder, package, version) for package, version in sorted(lock_for(HERE).items())]


def trust(folder: Path) -> list[str]:
    """The words that make a pack take the wheels of a folder, which are none of the package index's."""
    found = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.whl"))]
    return [word for digest in found for word in ("--trust-wheel", digest)]


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of small wheels that stand in the table as if the package index had them."""
    for path in made_wheels(tmp_path / "wheels"):
        monkeypatch.setitem(wheels.WHEELS, path.name, hashlib.sha256(path.read_bytes()).hexdigest())
    return tmp_path / "wheels"


def change(path: Path) -> None:
    """Put a line into a wheel's first module: its name, its version and its METADATA stay."""
    with zipfile.ZipFile(path) as archive:
        files = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    first = next(name for name in files if name.endswith("/__init__.py"))
    files[first] += b"\nprint('the line was run')\n"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A pack made from the packages that are installed here, and a Python that has none."""
    folder = tmp_path_factory.mktemp("bare")
    for package, version in lock_for(HERE).items():
        installed = importlib.metadata.version(package)
        if installed != version:
            pytest.skip(f"{package} {installed} is installed here, and the lock names {version}")
    (folder / "wheels").mkdir()
    for package in lock_for(HERE):
        repack(package, folder / "wheels")
    given = ["--wheels", str(folder / "wheels"), *trust(folder / "wheels")]
    assert main(["pack", "-o", str(folder / "pack"), *given]) == 0
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = str(folder / "venv/bin/python")
    return SimpleNamespace(folder=folder, python=python, calm=calm_python(folder, python))


def record(bare: SimpleNamespace, *words: str, calm: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the recorder with a cache of its own."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "XDG_"))}
    environment = {**kept, "XDG_CACHE_HOME": str(bare.folder / "cache"), "HOME": str(bare.folder)}
    command = [bare.calm if calm else bare.python, str(bare.folder / "pack" / packing.PROGRAM), *words]
    return subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False, timeout=120)


def test_a_python_without_anything_records(bare: SimpleNamespace) -> None:
    target = bare.folder / "run.json"
    first = record(bare, "bench", *TINY, "--packages", "carry", "-o", str(target))
    assert first.returncode == 0, first.stderr
    assert "This only recorded" in first.stdout
    result = json.loads(target.read_text())
    environment = result["environment"]
    assert len(result["latency_ns"]) == 5
    assert environment["engine"]["version"] == lock_for(HERE)["onnxruntime"]
    assert environment["numpy"] == lock_for(HERE)["numpy"]
    assert environment["command"][:2] == ["numatune-bench", "bench"]
    assert environment["pinning"]["ok"] is True
    # No uploader of the engine beside the run, and nothing of one in the cache.
    assert [thread for thread in environment["pinning"]["verified"] if thread["role"] == "other"] == []
    assert [path.name for path in (bare.folder / "cache").iterdir()] == ["numatune"]
    (site,) = (bare.folder / "cache/numatune/bench/site").iterdir()
    unpacked = site.stat().st_ino
    again = record(bare, "probe", "--seconds", "0.2", "--size", "16", "-o", str(target))
    assert again.returncode == 0, again.stderr
    assert json.loads(target.read_text())["environment"]["engine"]["name"] == "numpy"
    assert site.stat().st_ino == unpacked


def test_one_process_for_each_node_starts_from_the_zip_file_too(bare: SimpleNamespace) -> None:
    words = ("--model", "resnet50", "--size", "32", "--iterations", "3", "--instances", "per-node", "--threads", "1")
    done = record(bare, "bench", *words, "-o", str(bare.folder / "node.json"))
    assert done.returncode == 0, done.stderr
    assert list(bare.folder.glob("node*.json"))


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "bench|probe"),
        (("bench",), 2, "-o/--output"),
        (("bench", "-o", "/no/such/folder/r.json"), 2, "/no/such/folder does not exist"),
        (("bench", "--packages", "target", "-o", "r.json"), 2, "numpy is not installed for"),
        (("bench", "--wheels", "/usr/lib", "--packages", "carry", "-o", "r.json"), 2, "no wheels in /usr/lib"),
        (("bench", "--cpus", "x", "-o", "r.json"), 2, "'x' is not a list of CPUs"),
        (("bench", "--size", "4", "-o", "r.json"), 2, "--size 4"),
        (("bench", "--model", "vgg", "-o", "r.json"), 2, "vgg"),
    ],
)
def test_what_goes_wrong_is_one_line(bare: SimpleNamespace, words: tuple[str, ...], code: int, said: str) -> None:
    words = tuple(str(bare.folder / word) if word == "r.json" else word for word in words)
    done = record(bare, *words, calm=False)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr
    assert not (bare.folder / "r.json").exists()


def test_ctrl_c_leaves_nothing_behind(bare: SimpleNamespace) -> None:
    target = bare.folder / "cut.json"
    words = [*TINY[:-4], "--iterations", "100000", "-o", str(target)]
    environment = {**os.environ, "XDG_CACHE_HOME": str(bare.folder / "cache")}
    command = [bare.calm, str(bare.folder / "pack" / packing.PROGRAM), "bench", *words]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "measuring" in line:
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (3, "")
    assert err.splitlines()[-1] == "numatune-bench: interrupted: nothing was left half-written"
    assert list(bare.folder.glob("*cut.json*")) == []


def test_the_same_bytes_each_time_and_nothing_but_the_recorder(tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert main(["pack", "-o", str(tmp_path / name), "--no-wheels"]) == 0
    first, second = ((tmp_path / name / packing.PROGRAM).read_bytes() for name in ("a", "b"))
    assert first == second
    names = zipfile.ZipFile(tmp_path / "a" / packing.PROGRAM).namelist()
    assert {"__main__.py", "numatune/__init__.py", "numatune/bench/model/graphs/resnet152.onnx"} <= set(names)
    assert all(name.startswith("numatune/bench/") for name in names[1:] if name != "numatune/__init__.py")
    assert not [name for name in names if "__pycache__" in name]


def test_a_python_that_is_too_old_is_told_so() -> None:
    """It must compile the first file: no f-string, no import from its future; and read no more than that."""
    start = packing._START
    ast.parse(start, feature_version=(3, 4))
    assert 'f"' not in start
    assert "__future__" not in start
    assert start.index("sys.exit(2)") < start.index("from numatune")


def test_a_pack_that_is_right_is_left_alone(known: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "pack" / "other-1-py3-none-any.whl"
    other.parent.mkdir()
    other.write_text("somebody's")
    command = ["pack", "-o", str(tmp_path / "pack"), "--wheels", str(known), "--format", "json"]
    assert main(command) == 0
    first = json.loads(capsys.readouterr().out)
    assert [file["new"] for file in first["files"]] == [True, True, True]
    assert main(command) == 0
    second = json.loads(capsys.readouterr().out)
    assert [file["new"] for file in second["files"]] == [False, False, False]
    assert [file["sha256"] for file in first["files"]] == [file["sha256"] for file in second["files"]]
    assert other.read_text() == "somebody's"


def test_what_a_pack_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*words: str) -> str:
        assert main(["pack", "-o", str(tmp_path / "pack"), *words]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert len(err.splitlines()) == 1
        return err

    place = tmp_path / "wheels"
    _numpy, onnxruntime = made_wheels(place)
    assert "Python 3.8 is too old for the recorder" in refused("--python", "3.8")
    assert "is not a Python such as 3.9" in refused("--python", "three")
    assert "riscv64" in refused("--arch", "riscv64")
    assert "no wheel of numpy 2.0.2 for Python 3.9 on aarch64" in refused(
        "--wheels", str(place), "--python", "3.9", "--arch", "aarch64"
    )
    assert "/no/such" in refused("--wheels", "/no/such")
    assert "SHA-256" in refused("--wheels", str(place), "--trust-wheel", "0" * 64)
    assert "'abc' is no SHA-256" in refused("--wheels", str(place), "--trust-wheel", "abc")
    onnxruntime.write_bytes(onnxruntime.read_bytes()[:100])
    assert "damaged or cut short" in refused("--wheels", str(place), *trust(place))
    assert not list((tmp_path / "pack").glob("onnxruntime*"))


def test_every_wheel_that_a_pack_fetches_is_in_the_table() -> None:
    for python in ((3, minor) for minor in range(min(LOCKS)[1], 15)):
        for arch in packing.ARCHITECTURES:
            for package, version in lock_for(python).items():
                assert packing.Target(python, arch).choose(WHEELS, package, version), (python, arch, package)
    assert all(len(digest) == 64 for digest in WHEELS.values())
    assert len(set(WHEELS.values())) == len(WHEELS)


def test_a_changed_wheel_is_not_packed(known: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["pack", "-o", str(tmp_path / "pack"), "--wheels", str(known)]
    (right,) = known.glob("numpy*")
    was = right.read_bytes()
    change(right)
    assert main(command) == 2
    assert capsys.readouterr().err.startswith(f"numatune: {right}: its SHA-256 is ")
    assert not list((tmp_path / "pack").glob("numpy*"))
    right.write_bytes(was)
    assert main(command) == 0
    # In the pack itself, as in the cache of bench.yml: it is looked at again, and replaced.
    packed = tmp_path / "pack" / right.name
    change(packed)
    capsys.readouterr()
    assert main(command) == 0
    assert f"made {packed}\n" in capsys.readouterr().out
    assert packed.read_bytes() == was
    # One that sorts first is not taken for the right one.
    (packed.parent / right.name.replace("-cp", "-0-cp", 1)).write_bytes(b"evil")
    assert main(command) == 0
    assert f"kept {packed}\n" in capsys.readouterr().out


def test_a_changed_wheel_is_not_run(bare: SimpleNamespace) -> None:
    place = bare.folder / "changed"
    shutil.copytree(bare.folder / "pack", place)
    change(next(place.glob("numpy*.whl")))
    words = ("probe", "--seconds", "0.2", "--size", "16", "-o", str(bare.folder / "changed.json"))
    done = record(bare, *words, "--wheels", str(place), calm=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "SHA-256" in done.stderr
    assert "not run; make the pack anew with `numatune pack`" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_what_was_changed_after_it_was_unpacked_is_not_run(bare: SimpleNamespace) -> None:
    target = bare.folder / "replaced.json"
    words = ("probe", "--seconds", "0.2", "--size", "16", "-o", str(target))
    assert record(bare, *words).returncode == 0
    (site,) = (bare.folder / "cache/numatune/bench/site").iterdir()
    module = site / "numpy/__init__.py"
    was = module.read_bytes()
    # Of the same size, as a manifest of sizes would have it.
    line = b"print('the line was run')\n"
    module.write_bytes(line + was[len(line) :])
    done = record(bare, *words)
    assert (done.returncode, "the line" in done.stdout) == (0, False), done.stderr
    assert module.read_bytes() == was
    assert not list(site.rglob("*.pyc"))
    assert stat.S_IMODE(site.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("No module named pip", "has no pip to fetch"),
        ("WARNING: Retrying … NewConnectionError(…): [Errno -3]\nERROR: No matching distribution found", "no network"),
        ("ERROR: No matching distribution found for numpy==2.4.6", "has no wheel of"),
        ("ERROR: something else\n", "something else"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "No space left"),
    ],
)
def test_why_pip_fails_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], said: str, words: str
) -> None:
    answer = subprocess.CompletedProcess([], 1, "", said)
    monkeypatch.setattr(pack.subprocess, "run", lambda *_words, **_options: answer)
    assert main(["pack", "-o", str(tmp_path / "pack")]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert words in last
    assert "--wheels DIR" in last
    assert [path.name for path in (tmp_path / "pack").iterdir()] == [packing.PROGRAM]


FITTING = [
    ("numpy-2.0.2-cp39-cp39-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", (3, 9), "x86_64", True),
    ("numpy-2.0.2-cp39-cp39-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", (3, 10), "x86_64", False),
    ("numpy-2.0.2-cp39-cp39-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", (3, 9), "aarch64", False),
    ("numpy-2.4.6-cp313-cp313t-manylinux_2_28_x86_64.whl", (3, 13), "x86_64", False),
    ("numpy-2.4.6-cp311-cp311-musllinux_1_2_x86_64.whl", (3, 11), "x86_64", False),
    ("numpy-2.4.6-cp311-cp311-manylinux_2_35_aarch64.whl", (3, 11), "aarch64", False),
    ("numpy-2.4.6-cp311-cp311-manylinux_2_28_aarch64.whl", (3, 11), "aarch64", True),
    ("numpy-2.4.6-cp311-cp311-win_amd64.whl", (3, 11), "x86_64", False),
    ("some-1-cp39-abi3-manylinux2014_x86_64.whl", (3, 12), "x86_64", True),
    ("some-1-1-py3-none-any.whl", (3, 12), "aarch64", True),
]


@pytest.mark.parametrize(("name", "python", "arch", "fits"), FITTING)
def test_which_wheel_is_for_which_target(name: str, python: tuple[int, int], arch: str, fits: bool) -> None:
    wheel = wheels.parse_wheel_name(name)
    assert wheel is not None
    assert wheel.fits(python, arch) is fits


@pytest.mark.parametrize("harm", ["cut", "another file", "bytecode", "a link", "open to others"])
def test_what_is_not_as_it_was_unpacked_is_unpacked_again(known: Path, tmp_path: Path, harm: str) -> None:
    """What a power cut left, or somebody put there."""
    brought = [str(path) for path in sorted(known.iterdir())]
    site = Path(bundled.unpacked(brought, str(tmp_path / "site")))
    module = site / "numpy/__init__.py"
    if harm == "cut":
        module.write_text("")
        (site / "onnxruntime/__init__.py").unlink()
    elif harm == "another file":
        (site / "sitecustomize.py").write_text("print()")
    elif harm == "bytecode":
        (site / "numpy/__pycache__").mkdir()
        (site / "numpy/__pycache__/__init__.cpython-311.pyc").write_bytes(b"")
    elif harm == "a link":
        (tmp_path / "same.py").write_bytes(module.read_bytes())
        module.unlink()
        module.symlink_to(tmp_path / "same.py")
    else:
        site.chmod(0o777)
    assert bundled.unpacked(brought, str(tmp_path / "site")) == str(site)
    assert module.read_text() == (site / "onnxruntime/__init__.py").read_text() == "VALUE = 1\n"
    assert not list(site.rglob("*.pyc"))
    assert not (site / "sitecustomize.py").exists()
    assert not module.is_symlink()
    assert stat.S_IMODE(site.stat().st_mode) == 0o700
    assert [path.name for path in site.parent.iterdir()] == [site.name]


def test_a_folder_that_others_can_write_is_refused(known: Path, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    brought = [str(path) for path in known.iterdir()]
    with pytest.raises(BenchError, match=r"shared can be written by others: .* --site"):
        bundled.unpacked(brought, str(tmp_path / "shared/site"))
    (tmp_path / "shared").chmod(0o1777)
    assert bundled.unpacked(brought, str(tmp_path / "shared/site"))


def test_a_folder_that_a_group_can_write_is_refused_but_for_ones_own_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o775)
    about = os.stat

    def of_group(group: int) -> None:
        def stat_of(path: str, **more: bool) -> os.stat_result:
            found = about(path, **more)
            return os.stat_result([*found[:5], group, *found[6:]]) if path == str(shared) else found

        monkeypatch.setattr(bundled.os, "stat", stat_of)

    of_group(100)
    with pytest.raises(BenchError, match=r"shared can be written by others: .* --site"):
        bundled._refuse_of_others(str(shared))
    shared.chmod(0o1775)
    bundled._refuse_of_others(str(shared))
    shared.chmod(0o775)
    of_group(0)
    bundled._refuse_of_others(str(shared))
    own = about(shared).st_uid
    monkeypatch.setattr(bundled.os, "getegid", lambda: own)
    of_group(own)
    bundled._refuse_of_others(str(shared))


def test_other_wheels_are_unpacked_beside(known: Path, tmp_path: Path) -> None:
    brought = sorted(known.iterdir())
    first = bundled.unpacked([str(path) for path in brought], str(tmp_path / "site"))
    with zipfile.ZipFile(brought[0], "a") as archive:
        archive.writestr("numpy/more.py", "")
    with pytest.raises(BenchError, match="SHA-256"):
        bundled.unpacked([str(path) for path in brought], str(tmp_path / "site"))
    mine = trust(known)[1::2]
    assert bundled.unpacked([str(path) for path in brought], str(tmp_path / "site"), mine) != first


def test_half_of_the_wheels_are_refused(tmp_path: Path) -> None:
    brought = made_wheels(tmp_path / "wheels")
    assert bundled.find_wheels(str(tmp_path / "wheels"), HERE, ARCH) == [str(path) for path in brought]
    brought[0].unlink()
    with pytest.raises(BenchError, match=r"has no wheel of numpy .* make the pack for this target"):
        bundled.find_wheels(str(tmp_path / "wheels"), HERE, ARCH)
    brought[1].unlink()
    assert bundled.find_wheels(str(tmp_path / "wheels"), HERE, ARCH) == []
