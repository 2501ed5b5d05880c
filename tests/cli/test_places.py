"""Where reports and snapshots go: their modes, and links that another user planted (as root, with such links)."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from numatune.bench.errors import BenchError
from numatune.bench.files import check_writable, replacing
from numatune.cli import main, output
from numatune.cli.errors import CliError

HOSTS = Path(__file__).parents[1] / "hosts"
DGX = HOSTS / "hwloc-nvidia-dgx-gb10.tar.gz"
OTHER = 65534
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link to another user")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder as /tmp is, of this user's."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A file of this user's that nobody else is to change."""
    path = tmp_path / "mine"
    path.write_text("as it was")
    path.chmod(0o600)
    return path


def plant(link: Path, target: Path, owner: int = OTHER) -> Path:
    link.symlink_to(target)
    os.chown(link, owner, owner, follow_symlinks=False)
    return link


def test_a_snapshot_is_for_its_owner_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "deep" / "snapshots"
    assert main(["collect", "-o", str(folder)]) == 0
    (path,) = (Path(line) for line in capsys.readouterr().out.splitlines())
    assert mode(path) == 0o600
    assert mode(folder) == mode(folder.parent) == 0o700
    # Again over one that was open, in a folder that was.
    path.chmod(0o644)
    folder.chmod(0o755)
    assert main(["collect", "-o", str(folder)]) == 0
    assert (mode(path), mode(folder)) == (0o600, 0o755)


def test_a_report_of_what_root_read_is_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.json"
    report.write_text("older")
    report.chmod(0o644)
    assert main(["audit", "--report", f"json={report}", "--fail-on", "critical"]) in (0, 1, 3)
    assert mode(report) == (0o600 if os.geteuid() == 0 else 0o644)
    # A captured tree does not say who read it.
    assert main(["audit", "--snapshot", str(DGX), "--report", f"json={report}"]) in (0, 1, 3)
    assert mode(report) == 0o644
    # A snapshot does.
    assert main(["collect", "-o", str(tmp_path)]) == 0
    (snapshot,) = tmp_path.glob("*.numatune.gz")
    assert main(["audit", "--snapshot", str(snapshot), "--report", f"text={report}"]) in (0, 1, 3)
    assert mode(report) == (0o600 if os.geteuid() == 0 else 0o644)
    capsys.readouterr()


@root_only
def test_a_link_that_another_user_planted_is_not_followed(shared: Path, mine: Path) -> None:
    planted = plant(shared / "report.json", mine)
    for write in (lambda: output.check(planted), lambda: output.write_whole(planted, b"new")):
        with pytest.raises(CliError, match=r"report\.json is a link of another user's in a folder that everybody can"):
            write()
    with pytest.raises(BenchError, match="is a link of another user's"):
        check_writable(str(planted))
    with pytest.raises(BenchError, match="is a link of another user's"), replacing(str(planted), "") as file:
        file.write(b"new")
    assert mine.read_text() == "as it was"
    assert planted.readlink() == mine
    assert [path.name for path in shared.iterdir()] == ["report.json"]


@root_only
def test_the_finding_itself(shared: Path, mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planted = plant(shared / "report.json", mine)
    assert main(["audit", "--snapshot", str(DGX), "--report", f"json={planted}"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    plant(shared / "snapshots", mine.parent)
    assert main(["collect", "-o", str(shared / "snapshots")]) == 2
    assert main(["collect", "-o", str(shared / "snapshots/below")]) == 2
    assert mine.read_text() == "as it was"
    assert not list(mine.parent.glob("*.numatune.gz"))
    assert not (mine.parent / "below").exists()


@root_only
def test_a_snapshot_replaces_a_link_and_not_what_it_leads_to(
    tmp_path: Path, mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody's own folder need not be one that everybody can write."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    assert main(["collect", "-o", str(folder)]) == 0
    path = Path(capsys.readouterr().out.strip())
    path.unlink()
    plant(path, mine)
    os.chown(folder, OTHER, OTHER)
    assert main(["collect", "-o", str(folder)]) == 0
    assert mine.read_text() == "as it was"
    assert not path.is_symlink()
    assert mode(path) == 0o600


def test_a_link_of_ones_own_is_followed_everywhere(shared: Path, mine: Path) -> None:
    for place in (shared, mine.parent):
        link = place / "own"
        link.symlink_to(os.path.relpath(mine, place))
        output.write_whole(link, b"new")
        assert link.is_symlink()
        assert mine.read_text() == "new"
        with replacing(str(link), "") as file:
            file.write(b"newer")
        assert link.is_symlink()
        assert mine.read_text() == "newer"
    (mine.parent / "folder").symlink_to(shared)
    output.write_whole(mine.parent / "folder/../shared/./x", b"x")
    assert (shared / "x").read_bytes() == b"x"


@root_only
def test_a_link_of_the_folders_owner_is_followed(shared: Path, mine: Path) -> None:
    os.chown(shared, OTHER, OTHER)
    output.write_whole(plant(shared / "link", mine), b"new")
    assert mine.read_text() == "new"


def test_links_in_a_circle_and_folders_that_are_missing(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for path, words in (("a", "levels of symbolic links"), ("none/x", "No such file"), ("a/x", "symbolic links")):
        with pytest.raises(CliError, match=words):
            output.write_whole(tmp_path / path, b"x")
    for path in ("/", "/tmp", "/dev/null", "."):
        with pytest.raises(CliError, match="cannot be written: "):
            output.write_whole(Path(path), b"x")


def test_standard_output_by_its_name(tmp_path: Path) -> None:
    """Into a file it leads to that file; a pipe is refused, for it cannot be written whole or not at all."""
    command = [sys.executable, "-m", "numatune", "audit", "--snapshot", str(DGX), "--report", "json=/dev/stdout"]
    with (tmp_path / "out").open("wb") as sink:
        done = subprocess.run(command, stdout=sink, stderr=subprocess.PIPE, check=False)
    assert done.returncode in (0, 1, 3), done.stderr
    assert b'"schema"' in (tmp_path / "out").read_bytes()
    piped = subprocess.run(command, capture_output=True, text=True, check=False)
    assert piped.returncode == 2
    assert "/dev/stdout: cannot be written: it is not a regular file" in piped.stderr


def test_nothing_is_left_where_writing_fails(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"half"
        raise OSError(28, "No space left on device")

    with pytest.raises(CliError, match="No space left on device; nothing was left there"):
        output.write_whole(tmp_path / "x", pieces())
    assert list(tmp_path.iterdir()) == []


@root_only
def test_another_user_is_refused_where_root_is() -> None:
    """The rule is the process's own, not root's: an ordinary user follows no third one's link in /tmp either."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o1777)
        (folder / "target").write_text("as it was")
        (folder / "target").chmod(0o666)
        planted = plant(folder / "link", folder / "target", owner=OTHER - 1)
        os.seteuid(OTHER)
        try:
            with pytest.raises(CliError, match="is a link of another user's"):
                output.write_whole(planted, b"x")
        finally:
            os.seteuid(0)
        assert (folder / "target").read_text() == "as it was"
