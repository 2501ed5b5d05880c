"""The command line as users and programs meet it: exit codes, one-line refusals, JSON, nothing half-written."""

from __future__ import annotations

import gzip
import json
import os
import re
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import synthetic

import numatune
from numatune.cli import COMMANDS
from numatune.core.catalogue import SETTINGS, names

HOSTS = Path(__file__).parents[1] / "hosts"
DGX = HOSTS / "hwloc-nvidia-dgx-gb10.tar.gz"
HOTSOS = DGX.with_name("hotsos-openstack-sosreport.tar.gz")


def run(*words: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(numatune.__file__).parents[1]), "NO_COLOR": "1"}
    return subprocess.run(  # type: ignore[call-overload, no-any-return] # the options are the callers'
        [sys.executable, "-m", "numatune", *map(str, words)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        **options,
    )


def refused(result: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """Assert one line on stderr that holds the words, the exit code, and nothing on stdout."""
    assert result.returncode == code, result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr
    assert result.stdout == ""


def tuned(tmp_path: Path) -> Path:
    """Write a tree that shows everything right, as far as a captured tree can."""
    root = tmp_path / "host"
    synthetic.write(synthetic.host(8, 2, 1), root)
    return root


def test_this_machine_is_audited_without_being_changed() -> None:
    result = run("audit", "--format", "json")
    assert result.returncode in (0, 1, 3), result.stderr
    audit = json.loads(result.stdout)
    assert audit["schema"] == "numatune/audit/1"
    assert audit["summary"]["hosts"] == 1
    host = audit["hosts"][0]
    assert host["facts"]["kernel"] == os.uname().release
    assert host["facts"]["topology"]["online"]
    assert [finding["setting"] for finding in host["findings"]] == list(names())


def test_a_finding_has_every_key_of_the_contract() -> None:
    result = run("audit", "--snapshot", HOSTS / "cpuinfo-huawei-honor-6.tar.gz", "--format", "json")
    assert result.returncode == 3
    host = json.loads(result.stdout)["hosts"][0]
    assert host["status"] == "incomplete"
    assert host["error"] is None
    wanted = set("setting status severity runtime persisted next_boot expected values masked_by waiver reason".split())
    for finding in host["findings"]:
        assert set(finding) == wanted | {"evidence", "remedy"}
    governor = host["findings"][1]
    assert governor["values"][0] == {"cpus": "1-3", "value": "interactive"}
    assert {"path", "text"} == set(governor["evidence"][0])


def test_what_is_wrong_comes_first() -> None:
    result = run("audit", "--snapshot", HOSTS / "nri-2s-snc-pmem-112cpu.tar.gz")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("nri-2s-snc-pmem-112cpu: incomplete")
    assert lines[1].split()[:2] == ["wrong", "cpu_governor"]


def test_several_snapshots_in_one_run() -> None:
    paths = sorted(HOSTS.glob("hwloc-*.tar.gz"))
    result = run("audit", "--snapshot", *paths, "--format", "json")
    audit = json.loads(result.stdout)
    assert audit["summary"]["hosts"] == 6
    assert [host["name"] for host in audit["hosts"]] == [path.name.removesuffix(".tar.gz") for path in paths]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], 3),
        (["--require", "numa_balancing"], 1),
        (["--fail-on", "critical", "--require", "numa_balancing"], 1),
        (["--fail-on", "info"], 3),
    ],
)
def test_exit_codes_of_findings(words: list[str], code: int, tmp_path: Path) -> None:
    root = tmp_path / "host"
    synthetic.write(synthetic.host(8, 2, 1, numa_balancing="1"), root)
    assert run("audit", "--root", root, *words).returncode == code


def test_what_is_unknown_wins_over_findings_and_the_report_has_both(tmp_path: Path) -> None:
    synthetic.write(synthetic.host(8, 2, 1, numa_balancing="1"), tmp_path / "host")
    result = run("audit", "--root", tmp_path / "host", "--require", "cpu_governor", "--format", "json")
    assert result.returncode == 3
    statuses = {item["setting"]: item["status"] for item in json.loads(result.stdout)["hosts"][0]["findings"]}
    assert (statuses["numa_balancing"], statuses["cpu_governor"]) == ("wrong", "unknown")


@pytest.mark.parametrize("command", ["audit", "plan", "collect"])
def test_a_local_run_may_be_told_to_keep_nothing(command: str, tmp_path: Path) -> None:
    """So that one command line serves all hosts; another --store would keep nothing, and is refused."""
    synthetic.write(synthetic.host(2, 1, 1), tmp_path / "host")
    more = ["-o", tmp_path / "snapshots"] if command == "collect" else []
    for where in ([], ["--root", tmp_path / "host"], ["--snapshot", DGX])[: 1 if command == "collect" else 3]:
        usual, told = run(command, *where, *more), run(command, *where, *more, "--store", "none")
        assert (told.returncode, told.stderr) == (usual.returncode, "")
        refused(run(command, *where, *more, "--store", tmp_path / "s"), 2, "--store is for hosts over SSH")
    assert not (tmp_path / "s").exists()


def test_a_collected_snapshot_is_judged_as_the_live_host_was(tmp_path: Path) -> None:
    made = run("collect", "-o", tmp_path / "snapshots")
    assert made.returncode == 0, made.stderr
    (path,) = (tmp_path / "snapshots").iterdir()
    assert made.stdout.strip() == str(path)
    assert path.name.endswith(".numatune.gz")
    replayed = json.loads(run("audit", "--snapshot", path, "--format", "json").stdout)["hosts"][0]
    live = json.loads(run("audit", "--format", "json").stdout)["hosts"][0]
    assert replayed["facts"]["topology"] == live["facts"]["topology"]
    assert [item["status"] for item in replayed["findings"]] == [item["status"] for item in live["findings"]]


def test_the_script_is_printed_for_reviewers_and_only_reads() -> None:
    result = run("collect", "--print-script")
    assert result.returncode == 0
    assert subprocess.run(["sh", "-n"], input=result.stdout, text=True, check=False).returncode == 0
    for word in (" rm ", " mv ", " tee ", "sysctl -w", " dd ", "mktemp", "> /", ">/"):
        assert word not in result.stdout.replace(">/dev/null", "")


def test_plan_says_what_tune_would_do(tmp_path: Path) -> None:
    root = tmp_path / "host"
    synthetic.write(synthetic.host(8, 2, 1, numa_balancing="1"), root)
    plan = json.loads(run("plan", "--root", root, "--format", "json").stdout)
    assert plan["schema"] == "numatune/plan/1"
    changes = plan["hosts"][0]["changes"]
    kinds = [(change["kind"], change["path"]) for change in changes if change["setting"] == "numa_balancing"]
    assert kinds == [("file", "/etc/sysctl.d/99-zz-numatune.conf"), ("runtime", "/proc/sys/kernel/numa_balancing")]
    assert run("plan", "--root", root).returncode == 0
    assert run("plan", "--root", root, "--detailed-exitcode").returncode == 1


def test_settings_and_explain() -> None:
    listed = run("settings")
    assert listed.returncode == 0
    lines = listed.stdout.split("\n\n")[0].splitlines()
    assert [line.split()[0] for line in lines if line[:1] != " "] == list(names())
    assert "swappiness                   info      audit, tune where named" in listed.stdout
    assert listed.stdout.startswith("numa_balancing ")
    told = run("explain", "cpu_idle")
    assert told.returncode == 0
    assert "max_exit_latency_us" in told.stdout
    assert "tune.yml changes it" in told.stdout
    assert json.loads(run("explain", "cpu_idle", "--format", "json").stdout)["setting"] == "cpu_idle"
    named = " ".join(run("explain", "ksm").stdout.split())
    assert "tune.yml changes it only where it is named: `" in named
    assert re.search(r"playbooks/tune\.yml --tags ksm`, or tune_also: \[ksm\] in the inventory\.", named)
    assert "never changes it" in run("explain", "mitigations").stdout


def test_help_names_what_there_is_and_nothing_else() -> None:
    text = run("--help").stdout
    for command in COMMANDS:
        assert f"  {command}" in text
        assert run(command, "--help").returncode == 0
    for later in ("qualify", "history"):
        assert later not in text
    assert "--engine" not in run("bench", "--help").stdout
    for command in ("audit", "collect", "plan"):
        text = run(command, "--help").stdout
        assert "--forks" in text
        assert "--unit" not in text


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["audit", "--unit", "x.service"], "--unit"),
        (["plan", "--pid=1"], "--pid"),
        (["bench", "--engine", "openvino", "-o", "x"], "--engine"),
        (["watch", "--pid", "1"], "watch"),
        (["nonsense"], "nonsense"),
        ([], "no command"),
        (["explain", "nonsense"], "nonsense"),
        (["audit", "--require", "nonsense"], "nonsense"),
        (["audit", "--profile", "nonsense"], "nonsense"),
        (["audit", "--profile", "missing.yml"], "missing.yml"),
        (["audit", "--root", "/no/such/root"], "/no/such/root"),
        (["audit", "--snapshot", "/no/such/file"], "/no/such/file"),
        (["audit", "--format", "yaml"], "--format"),
        (["audit", "--report", "text"], "FMT=PATH"),
        (["audit", "--report", "json=/no/such/folder/x.json"], "/no/such/folder"),
        (["collect"], "-o DIR"),
    ],
)
def test_bad_usage_is_one_line(words: list[str], named: str) -> None:
    refused(run(*words), 2, named)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["adit"], "did you mean `numatune audit`?"),
        (["audit", "--formt", "json"], "did you mean --format?"),
        (["audit", "--require", "numa_balacing"], "did you mean numa_balancing?"),
        (["explain", "cpu_idl"], "did you mean cpu_idle?"),
        (["tune"], "playbooks/tune.yml"),
        (["revert"], "playbooks/revert.yml"),
        (["qualify"], "playbooks/qualify.yml"),
        (["history"], "`numatune --help` lists what is"),
        (["completion", "bash"], "`numatune --help` lists what is"),
        (["zzzzzz"], "there is audit, collect"),
    ],
)
def test_what_was_meant_is_said(words: list[str], named: str) -> None:
    refused(run(*words), 2, named)


def test_required_settings_may_stand_in_one_word() -> None:
    together = run("audit", "--snapshot", DGX, "--require", "numa_balancing,cpu_idle", "--format", "json")
    apart = run("audit", "--snapshot", DGX, "--require", "numa_balancing", "--require", "cpu_idle", "--format", "json")
    assert together.returncode == apart.returncode
    assert json.loads(together.stdout)["hosts"] == json.loads(apart.stdout)["hosts"]


def test_explain_names_the_words_of_an_option_and_its_variable() -> None:
    told = " ".join(run("explain", "cpu_governor").stdout.split())
    assert "tuned (refuse or after): " in told
    assert "in an inventory: tune_cpu_governor_tuned" in told


@pytest.mark.parametrize("setting", ["irq_affinity", "cpu_governor"])
def test_explain_names_what_the_kernel_shows_and_sums_up_the_rest(setting: str) -> None:
    reads = json.loads(run("explain", setting, "--format", "json").stdout)["reads"]
    shown = run("explain", setting).stdout.partition(f"Read from a host ({len(reads)} in all")[2]
    assert len(shown.splitlines()) < 20
    words = " ".join(shown.split())
    kernel = [path for path in reads if path.startswith(("/proc/", "/sys/"))]
    assert [path for path in kernel if path.rpartition("/")[2].strip() not in words] == []
    assert "/etc/: " in words
    if setting == "irq_affinity":
        assert "/proc/irq/[0-9]*/: effective_affinity_list, node, smp_affinity_list" in words


def test_an_option_with_words_says_which_is_the_default() -> None:
    options = [option for setting in SETTINGS for option in setting.options.values() if option.choices]
    assert len(options) >= 3
    assert [option.told for option in options if option.default not in option.choices] == []
    assert all(option.told.endswith(f" (default: {option.default})") for option in options)


def test_help_of_a_command_is_the_commands_help() -> None:
    assert run("help", "audit").stdout == run("audit", "--help").stdout
    assert run("help").stdout == run("--help").stdout
    assert "FMT is one of text, json" in " ".join(run("audit", "--help").stdout.split())


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--snapshot", "FOLDER"], "a folder; give its files, or judge a captured tree with --root"),
        (["--snapshot", "/dev/null"], "not a regular file"),
        (["--snapshot", "/no/such"], "no such file"),
        (["--root", "/dev/null"], "not a folder; judge a tarball or a snapshot with --snapshot"),
        (["db1", "--private-key", "/no/such"], "--private-key /no/such: there is no such file"),
    ],
)
def test_what_is_there_is_not_said_to_be_missing(words: list[str], named: str, tmp_path: Path) -> None:
    refused(run("audit", *(str(tmp_path) if word == "FOLDER" else word for word in words)), 2, named)


def test_many_snapshots_are_summed_up_as_a_fleet_is(tmp_path: Path) -> None:
    files = []
    for number in range(12):
        files.append(tmp_path / f"db{number}.tar.gz")
        files[-1].symlink_to(DGX)
    said = run("audit", "--snapshot", *files, "--report", f"json={tmp_path / 'r.json'}").stdout
    assert said.startswith("12 hosts: ")
    assert "of 12 hosts: db0, db1, db2 and 9 more" in " ".join(said.split())
    assert "--details shows every host" in said
    assert len(said.splitlines()) < 40
    assert len(json.loads((tmp_path / "r.json").read_text())["hosts"]) == 12
    assert run("audit", "--details", "--snapshot", *files).stdout.count("\n\n") == 12


def test_ctrl_c_while_it_is_loaded_is_one_line() -> None:
    stop = "import sys, builtins\nfrom numatune import __main__ as start\nreal = builtins.__import__\n"
    stop += "def load(name, *rest):\n    if name == 'argparse':\n        raise KeyboardInterrupt\n"
    stop += "    return real(name, *rest)\nbuiltins.__import__ = load\nsys.exit(start.main())"
    done = subprocess.run(
        [sys.executable, "-c", stop], capture_output=True, text=True, cwd=HOSTS.parents[1], check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "numatune: interrupted: nothing was begun\n")


def test_an_empty_root_is_refused(tmp_path: Path) -> None:
    refused(run("audit", "--root", tmp_path), 2, str(tmp_path))


PROFILES = {
    "colour: red\n": "unknown key 'colour'",
    "settings: {nonsense: {}}\n": "unknown key 'nonsense'",
    "settings: {cpu_idle: {nonsense: 1}}\n": "unknown key 'nonsense'",
    "settings: {cpu_idle: {max_exit_latency_us: soon}}\n": "settings.cpu_idle.max_exit_latency_us",
    "cpus: {serving: 2-x}\n": "cpus.serving",
    "- a\n- b\n": "mapping",
    "a: [\n": "not YAML",
    "extends: nothing\n": "nothing",
    "settings: {cpu_governor: false}\nsettings: {cpu_idle: false}\n": "line 2: settings stands twice",
    "settings:\n  cpu_idle: {severity: info, severity: critical}\n": "line 2: severity stands twice",
    "": "holds no profile",
}


@pytest.mark.parametrize("text", PROFILES)
def test_a_bad_profile_is_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "profile.yml"
    path.write_text(text)
    refused(run("audit", "--profile", path, "--snapshot", DGX), 2, str(path), PROFILES[text])


@pytest.mark.parametrize("command", ["audit", "plan"])
def test_cpu_roles_that_do_not_fit_are_the_hosts_error(command: str, tmp_path: Path) -> None:
    """As over SSH: the host is named, and the others are judged."""
    path = tmp_path / "profile.yml"
    path.write_text("cpus: {serving: 16-19}\n")
    result = run(command, "--profile", path, "--snapshot", HOTSOS, DGX, "--format", "json")
    assert (result.returncode, result.stderr) == (3, "")
    small, large = json.loads(result.stdout)["hosts"]
    assert small["error"]["phase"] == "profile"
    assert "the profile does not fit this host: serving CPUs 16-19 do not exist" in small["error"]["message"]
    assert not large.get("error")
    summary = json.loads(result.stdout)["summary"]
    assert (summary["unreachable"], summary["not_judged"], summary["hosts"]) == (0, 1, 2)
    shown = " ".join(run(command, "--profile", path, "--snapshot", HOTSOS, DGX).stdout.split())
    assert "hotsos-openstack-sosreport: not judged (profile): the profile does not fit this host: serving" in shown
    assert "unreachable (" not in shown
    assert command == "plan" or " 0 unreachable, 1 not judged" in shown


@pytest.mark.parametrize("command", ["audit", "plan"])
def test_a_bad_snapshot_among_others_is_that_hosts_error(command: str, tmp_path: Path) -> None:
    (tmp_path / "5-bad.tar.gz").write_bytes(DGX.read_bytes()[:2000])
    words = [command, "--snapshot", HOTSOS, tmp_path / "5-bad.tar.gz", tmp_path / "gone", DGX]
    result = run(*words, "--format", "json")
    assert (result.returncode, result.stderr) == (3, "")
    found = json.loads(result.stdout)
    assert found["summary"]["unreachable"] == 2
    errors = {host["name"]: host["error"]["message"] for host in found["hosts"] if host.get("error")}
    assert set(errors) == {"5-bad", "gone"}
    assert "cut short or damaged" in errors["5-bad"]
    assert "no such file" in errors["gone"]
    # As wide as the folders' names let it be: a long path goes to a line of its own.
    shown = run(*words)
    assert "5-bad: unreachable (parse):" in shown.stdout
    assert "hwloc-nvidia-dgx-gb10: " in shown.stdout


def test_truncated_and_foreign_snapshots_are_the_hosts_error(tmp_path: Path) -> None:
    data = DGX.read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(data[: len(data) // 2])
    (tmp_path / "empty.tar.gz").write_bytes(b"")
    (tmp_path / "noise").write_bytes(bytes(range(256)) * 16)
    (tmp_path / "noise.gz").write_bytes(gzip.compress(b"hello, this is no snapshot"))
    made = run("collect", "-o", tmp_path / "s").stdout.strip()
    text = gzip.decompress(Path(made).read_bytes())
    (tmp_path / "stream-cut").write_bytes(text[: len(text) // 2])
    (tmp_path / "packed-cut").write_bytes(Path(made).read_bytes()[:-200])
    for name in ("cut.tar.gz", "empty.tar.gz", "noise", "noise.gz", "stream-cut", "packed-cut"):
        result = run("audit", "--snapshot", tmp_path / name)
        assert (result.returncode, result.stderr, result.stdout.count("unreachable")) == (3, "", 1)
        assert f"unreachable (parse): {tmp_path / name}: " in " ".join(result.stdout.split())
    refused(run("audit", "--snapshot", tmp_path / "gone"), 2, "no such file")


def test_reports_are_written_beside_stdout(tmp_path: Path) -> None:
    result = run(
        "audit", "--snapshot", DGX, "--report", f"json={tmp_path / 'a.json'}", "--report", f"text={tmp_path / 'a.txt'}"
    )
    assert json.loads((tmp_path / "a.json").read_text())["hosts"][0]["name"] == "hwloc-nvidia-dgx-gb10"
    assert (tmp_path / "a.txt").read_text() == result.stdout


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    """A limit on file size stands for the full disk: the write fails in its middle."""
    path = tmp_path / "a.json"
    path.write_text("the old report")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    result = run("audit", "--snapshot", DGX, "--report", f"json={path}", preexec_fn=limit)
    refused(result, 2, str(path))
    assert path.read_text() == "the old report"
    assert [item.name for item in tmp_path.iterdir()] == ["a.json"]


def test_a_report_never_replaces_what_is_no_file(tmp_path: Path) -> None:
    pipe, link, folder = tmp_path / "pipe", tmp_path / "link", tmp_path / "folder"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    folder.mkdir()
    (tmp_path / "loop").symlink_to("loop")
    for path in (pipe, link, folder, tmp_path / "loop"):
        refused(run("audit", "--snapshot", DGX, "--report", f"json={path}"), 2, str(path), "cannot be written")
    assert stat.S_ISFIFO(pipe.lstat().st_mode)
    assert link.is_symlink()
    assert (tmp_path / "loop").is_symlink()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["folder", "link", "loop", "pipe"]


@pytest.mark.parametrize("exists", [True, False])
def test_a_report_goes_where_a_link_leads(exists: bool, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "a.json", tmp_path / "link.json"
    if exists:
        target.write_text("the old report")
    link.symlink_to(target)
    run("audit", "--snapshot", DGX, "--report", f"json={link}")
    assert link.is_symlink()
    assert json.loads(target.read_text())["schema"] == "numatune/audit/1"
    assert [item.name for item in target.parent.iterdir()] == ["a.json"]


def test_help_of_compare_tells_its_exit_codes() -> None:
    assert "1.25 times the median before" in " ".join(run("compare", "--help").stdout.split())


def test_a_tree_cannot_steer_the_terminal(tmp_path: Path) -> None:
    files = synthetic.host(8, 2, 1)
    name = next(path for path in files if path.endswith("scaling_governor"))
    files = {path: ("evil\x1b[2J" if path.endswith("scaling_governor") else text) for path, text in files.items()}
    assert name in files
    synthetic.write(files, tmp_path / "host")
    assert "\x1b" not in run("audit", "--root", tmp_path / "host").stdout
