"""`make run`: findings are a report, a stage without its report fails by name, arguments reach the benchmark."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Ends with the exit code that the file named after its command holds, and writes its report unless that holds "none".
COMMAND = """#!/bin/sh
echo "$*" >>called
stage=$1
for argument; do
    case $argument in json=*) report=${argument#json=} ;; esac
    case $last in -o) report=$argument ;; esac
    last=$argument
done
echo "what $stage says"
read -r code writes <"$stage.behaviour"
[ "$writes" = none ] || [ -z "$report" ] || echo '{}' >"$report"
exit "$code"
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Lay out the script beside a `numatune` that behaves as files say."""
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools/run-main-job", tmp_path / "tools")
    command = tmp_path / ".venv/bin/numatune"
    command.parent.mkdir(parents=True)
    command.write_text(COMMAND, "utf-8")
    command.chmod(0o755)
    for stage in ("audit", "plan", "bench", "report"):
        behave(tmp_path, stage, "0 report")
    return tmp_path


def behave(checkout: Path, stage: str, how: str) -> None:
    """Say how a stage ends."""
    (checkout / f"{stage}.behaviour").write_text(how + "\n", "utf-8")


def main_job(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the main job."""
    command = [str(checkout / "tools/run-main-job"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("code", [0, 1, 3])
def test_an_audit_with_findings_is_a_report(checkout: Path, code: int) -> None:
    behave(checkout, "audit", f"{code} report")
    done = main_job(checkout)
    assert done.returncode == 0, done.stderr
    reports = {path.name for path in (checkout / "build/run").iterdir()}
    assert reports == {"audit.txt", "audit.json", "plan.txt", "bench.txt", "bench.json", "report.txt", "report.html"}
    assert "what audit says" in done.stdout
    assert "what bench says" in done.stdout
    assert "ansible-playbook" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("stage", "how"),
    [
        ("audit", "2 report"),
        ("audit", "4 report"),
        ("audit", "1 none"),
        ("plan", "2 report"),
        ("bench", "0 none"),
        ("report", "2 none"),
    ],
)
def test_a_stage_without_its_report_is_named(checkout: Path, stage: str, how: str) -> None:
    behave(checkout, stage, how)
    done = main_job(checkout)
    assert done.returncode == 1
    assert f'"{stage}"' in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_run_that_counts_for_no_verdict_is_a_report_that_says_so(checkout: Path) -> None:
    """`numatune bench` and `numatune report` exit with 3 for it, having written their files."""
    behave(checkout, "bench", "3 report")
    behave(checkout, "report", "3 report")
    done = main_job(checkout, "--quick")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    table = done.stdout.partition("Reports in build/run:\n")[2].splitlines()
    assert [line.split()[0] for line in table[:4]] == ["audit.txt,", "plan.txt", "bench.txt,", "report.html"]
    assert ["invalid for a verdict" in line for line in table[:4]] == [False, False, True, True]


@pytest.mark.parametrize("how", ["3 none", "2 none"])
def test_a_run_that_was_not_started_still_ends_in_the_table(checkout: Path, how: str) -> None:
    behave(checkout, "bench", how)
    done = main_job(checkout)
    assert done.returncode == 1
    assert '"bench"' in done.stderr
    table = done.stdout.partition("Reports in build/run:\n")[2].splitlines()
    assert ["not made" in line for line in table] == [False, False, True, True]


def test_every_instance_has_its_file_in_the_report(checkout: Path) -> None:
    """With --instances per-node, each node's run has a file of its own."""
    command = checkout / ".venv/bin/numatune"
    text = command.read_text("utf-8")
    both = "for node in 0 1; do echo '{}' >\"${report%.json}-node$node.json\"; done"
    text = text.replace("echo '{}' >\"$report\"", both)
    command.write_text(text.replace("read -r", '[ "$stage" = bench ] || exec sh plain "$@"\nread -r'), "utf-8")
    (checkout / "plain").write_text(COMMAND.replace('echo "$*" >>called', ""), "utf-8")
    done = main_job(checkout, "--instances", "per-node")
    assert done.returncode == 0, done.stderr
    called = (checkout / "called").read_text("utf-8").splitlines()
    assert called[-1].startswith("report build/run/bench-node0.json build/run/bench-node1.json --audit ")
    assert "bench-node0.json, bench-node1.json" in done.stdout


def test_an_earlier_report_does_not_pass_for_this_one(checkout: Path) -> None:
    assert main_job(checkout).returncode == 0
    behave(checkout, "bench", "0 none")
    assert main_job(checkout).returncode == 1


def test_arguments_reach_the_benchmark(checkout: Path) -> None:
    main_job(checkout, "--model", "resnet50", "--quick")
    called = (checkout / "called").read_text("utf-8").splitlines()
    assert called[-2] == "bench --model resnet50 --quick -o build/run/bench.json"
    assert called[-1].startswith("report build/run/bench.json ")
