"""BLS entries as RHEL 8, 9, 10 and Fedora keep them: what each file comes to, and that nothing else is touched."""

from __future__ import annotations

import pytest
from core.bls_trees import ENTRIES, MACHINE, TREES, block, path, rescue
from core.grub_cfg import menu
from core.machine import MOUNTS, Machine

from numatune.core.change import Change
from numatune.core.loaders import bls
from numatune.core.loaders import find as loaders
from numatune.core.loaders.arguments import merged
from numatune.core.parsers import cmdline, grub

WANTED = {"skew_tick": "1", "nohz": "on"}
TEXT = "skew_tick=1 nohz=on"
ENV, TRIAL = "boot/grub2/grubenv", f"{ENTRIES}/A-numatune-trial.conf"
trees = pytest.mark.parametrize("name", TREES)
own = pytest.mark.parametrize("name", [name for name in TREES if name != "rhel8"])


def written(name: str) -> Machine:
    """Return a host with the arguments written at once."""
    host = Machine(TREES[name], {})
    host.ask(WANTED, trial=False)
    host.tune()
    return host


def kernels(name: str) -> list[str]:
    return [key for key in TREES[name] if key.startswith(ENTRIES) and key != rescue()]


def options(text: str) -> str:
    (line,) = [line for line in text.splitlines() if line.startswith("options ")]
    return line.removeprefix("options ")


@own
def test_every_entry_gets_them_and_keeps_all_else(name: str) -> None:
    host = written(name)
    assert len(kernels(name)) == 2
    for key in kernels(name):
        before, after = TREES[name][key], host.files[key]
        assert options(after) == f"{options(before)} {TEXT}"
        assert after.replace(f" {TEXT}", "") == before
    assert host.files[rescue()] == TREES[name][rescue()], "the rescue entry stays stock"
    assert host.files[ENV] == TREES[name][ENV]


def test_rhel_8_gets_them_in_the_one_place_that_its_entries_read() -> None:
    host = written("rhel8")
    before, after = (grub.environment(files[ENV]) for files in (TREES["rhel8"], host.files))
    assert after == {**before, "kernelopts": f"{before['kernelopts']}{TEXT}"}
    assert len(host.files[ENV]) == 1024
    for key in kernels("rhel8"):
        assert host.files[key] == TREES["rhel8"][key], "it says $kernelopts"
    assert cmdline.values(host.next(), "skew_tick") == ["1"]


def test_rhel_8s_rescue_entry_no_longer_follows_them() -> None:
    host = written("rhel8")
    stock = grub.environment(TREES["rhel8"][ENV])["kernelopts"]
    assert options(host.files[rescue()]) == stock
    host.ask({})
    host.tune()
    assert options(host.files[rescue()]) == stock
    assert host.files[ENV].count("kernelopts") == TREES["rhel8"][ENV].count("kernelopts")


@trees
def test_kernel_that_is_installed_before_the_reboot_gets_them(name: str) -> None:
    """Its entry is made of kernelopts (RHEL 8) or /etc/kernel/cmdline, and grub2-mkconfig's of /etc/default/grub."""
    host = written(name)
    new = path("9.9.9-1.x86_64")
    stands = host.files.get("etc/kernel/cmdline")
    made = "$kernelopts $tuned_params" if name == "rhel8" else f"{stands} $tuned_params".replace("\n", "")
    host.files[new] = f"title New\nversion 9.9.9-1.x86_64\nlinux /vmlinuz-9.9.9\noptions {made}\n"
    host.files[ENV] = grub.with_variable(host.files[ENV], "saved_entry", new.rpartition("/")[2].removesuffix(".conf"))
    assert (host.status(), host.plan().changes) == ("pending_reboot", ())
    assert (cmdline.values(host.next(), "skew_tick"), cmdline.values(host.next(), "nohz")) == (["1"], ["on"])
    assert cmdline.last(host.next(), "root") == cmdline.last(Machine(TREES[name], {}).next(), "root")
    (line,) = [line for line in host.files["etc/default/grub"].splitlines() if line.startswith("GRUB_CMDLINE_LINUX=")]
    assert line.endswith(f' {TEXT}"')
    assert host.files["etc/default/grub"].replace(f" {TEXT}", "") == TREES[name]["etc/default/grub"]


@own
def test_kernel_whose_entry_lacks_them_is_not_ok_where_it_is_the_default(name: str) -> None:
    host = written(name)
    host.reboot()
    assert host.status() == "ok"
    host.files[path("9.9.9-1.x86_64")] = (
        f"title New\nversion 9.9.9-1.x86_64\noptions {options(TREES[name][rescue()])}\n"
    )
    assert host.status() == "wrong", "one that is not the default is seen too"
    host.files[ENV] = grub.with_variable(host.files[ENV], "saved_entry", f"{MACHINE}-9.9.9-1.x86_64")
    assert host.status() == "lost_at_reboot"
    host.tune()
    assert host.status() == "ok"


@trees
def test_trial_is_a_copy_of_the_default_that_sorts_last(name: str) -> None:
    host = Machine(TREES[name], {})
    host.ask(WANTED)
    armed = [("once", f"/{ENV}:numatune_trial"), ("once", f"/{ENV}:next_entry")]
    assert host.tune() == [("file", f"/{TRIAL}"), *armed]
    saved = grub.environment(TREES[name][ENV])["saved_entry"]
    default, trial = TREES[name][f"{ENTRIES}/{saved}.conf"], host.files[TRIAL]
    for key in ("linux", "initrd", "grub_users", "grub_arg", "grub_class"):
        assert [line for line in default.splitlines() if line.startswith(f"{key} ")] == [
            line for line in trial.splitlines() if line.startswith(f"{key} ")
        ]
    assert "kernelopts" not in trial
    assert options(trial).endswith(f"{TEXT} panic=10")
    assert "\nversion 0\n" in trial
    assert trial.count("title ") == trial.count("version ") == 1
    host.files[ENV] = grub.with_variable(grub.with_variable(host.files[ENV], "next_entry", None), "saved_entry", None)
    assert "panic" not in host.next(), "without a saved default it is not the first"


@trees
def test_what_a_journal_puts_back_is_every_byte(name: str) -> None:
    """Each change knows what was there: undone in turn, the host is as it was."""
    host = Machine(TREES[name], {})
    before = dict(host.files)
    host.ask(WANTED, trial=False)
    changes = host.changes()
    for change in changes:
        host.apply(change)
    for each in reversed(changes):
        back = Change(each.setting, each.kind, each.path, each.before, each.content, "")
        host.apply(back)
    variables = {key: grub.environment(files[ENV]) for key, files in (("then", before), ("now", host.files))}
    assert variables["now"] == variables["then"]
    assert {**host.files, ENV: ""} == {**before, ENV: ""}


def test_fedoras_missing_command_line_is_made() -> None:
    host = written("fedora")
    assert host.files["etc/kernel/cmdline"] == f"{options(TREES['fedora'][rescue()])} {TEXT}\n"
    assert "$" not in host.files["etc/kernel/cmdline"]
    assert 'GRUB_CMDLINE_LINUX_DEFAULT=""\n' in host.files["etc/default/grub"]


EDGES = {
    "tabs": ("options\troot=x  a\n", f"options\troot=x  a {TEXT}\n"),
    "no line end": ("title x\noptions root=x", f"title x\noptions root=x {TEXT}"),
    "two lines": ("options root=x nohz=off\noptions b skew_tick=0\n", f"options root=x {TEXT}\noptions b\n"),
    "quotes": ('options root=x d="a b" nohz=off\n', f'options root=x d="a b" {TEXT}\n'),
    "given twice": ("options nohz=1 root=x nohz=2 skew-tick=3\n", f"options root=x {TEXT}\n"),
    "a word like it": (
        "title options\n#options y\noptions root=x\n",
        f"title options\n#options y\noptions root=x {TEXT}\n",
    ),
}


@pytest.mark.parametrize(("text", "found"), EDGES.values(), ids=EDGES)
def test_entries_written_by_hand(text: str, found: str) -> None:
    files = {**TREES["rhel9"], f"{ENTRIES}/own.conf": text}
    host = Machine(files, {})
    host.ask(WANTED, trial=False)
    host.tune()
    assert host.files[f"{ENTRIES}/own.conf"] == found


def test_entry_that_repeats_a_key_of_kernelopts_holds_it_once() -> None:
    files = dict(TREES["rhel8"])
    for key in kernels("rhel8"):
        files[key] = files[key].replace("$kernelopts", "$kernelopts nohz=off x=1")
    host = Machine(files, {})
    host.ask(WANTED, trial=False)
    host.tune()
    assert (cmdline.values(host.next(), "nohz"), cmdline.values(host.next(), "x")) == (["on"], ["1"])


DEFAULTS = {
    "single quotes": ("GRUB_CMDLINE_LINUX='quiet'", f"GRUB_CMDLINE_LINUX='quiet {TEXT}'"),
    "bare": ("GRUB_CMDLINE_LINUX=quiet", f'GRUB_CMDLINE_LINUX="quiet {TEXT}"'),
    "empty": ("GRUB_CMDLINE_LINUX=", f'GRUB_CMDLINE_LINUX="{TEXT}"'),
    "commented": ('#GRUB_CMDLINE_LINUX="x"', '#GRUB_CMDLINE_LINUX="x"'),
    "the other variable": ('GRUB_CMDLINE_LINUX_DEFAULT="nohz=off x"', 'GRUB_CMDLINE_LINUX_DEFAULT="x"'),
}


@pytest.mark.parametrize(("line", "found"), DEFAULTS.values(), ids=DEFAULTS)
def test_defaults_are_edited_where_they_are_plain(line: str, found: str) -> None:
    host = Machine({**TREES["rhel9"], "etc/default/grub": f"A=1\n{line}\nB=$(x)\n"}, {})
    host.ask(WANTED, trial=False)
    host.tune()
    assert host.files["etc/default/grub"] == f"A=1\n{found}\nB=$(x)\n"


LARGE = "root=x " + "a" * 930
CONFLICTS = {
    "TuneD's own": (
        {ENV: block(saved_entry="x", tuned_params="skew_tick=1 isolcpus=2")},
        "TuneD adds skew_tick to every entry",
    ),
    "TuneD's own, in grub.cfg": (
        {"boot/grub2/grub.cfg": TREES["rhel9"]["boot/grub2/grub.cfg"] + 'set tuned_params="nohz=on"\n'},
        "TuneD adds nohz to every entry (/boot/grub2/grub.cfg)",
    ),
    "a trial of that name": ({TRIAL: "title mine\noptions x\n"}, "exists and is not numatune's"),
    "a note of that name": ({"etc/numatune/kernel-arguments": "x\n"}, "exists and is not numatune's"),
    "defaults over two lines": (
        {"etc/default/grub": 'A=1\nGRUB_CMDLINE_LINUX="quiet \\\nx"\n'},
        "/etc/default/grub line 2 is more than one plain text in quotes",
    ),
    "defaults by a variable": ({"etc/default/grub": 'GRUB_CMDLINE_LINUX="$X"\n'}, "/etc/default/grub line 1"),
}


@pytest.mark.parametrize(("files", "words"), CONFLICTS.values(), ids=CONFLICTS)
def test_what_cannot_be_made_to_hold_is_a_conflict(files: dict[str, str], words: str) -> None:
    host = Machine({**TREES["rhel9"], **files}, {})
    host.ask(WANTED)
    assert words in host.conflict()


def test_kernelopts_that_would_not_fit_are_refused_before_anything_is_written() -> None:
    host = Machine({**TREES["rhel8"], ENV: block(saved_entry="x", kernelopts=LARGE)}, {}, running="ro")
    host.ask(WANTED, trial=False)
    assert (
        "/boot/grub2/grubenv: numatune_trial does not fit into GRUB's environment block of 1024 bytes"
        in host.conflict()
    )


def test_kernelopts_that_grubenv_does_not_hold_are_refused() -> None:
    host = Machine({**TREES["rhel8"], ENV: block(saved_entry="x")}, {}, running="ro")
    host.ask(WANTED, trial=False)
    messages = [conflict.message for conflict in host.plan().conflicts]
    assert host.plan().changes == ()
    assert "line 5 uses $kernelopts, which /boot/grub2/grubenv does not hold" in messages[0]
    assert host.status() != "ok"


NO_TRIAL = {
    "nothing saved": ({ENV: block(boot_success="1")}, "/boot/grub2/grubenv saves no default entry"),
    "saved by number": ({ENV: block(saved_entry="0")}, "saves no default entry"),
    "saved, gone": ({ENV: block(saved_entry="gone")}, "saves no default entry"),
    "LVM": ({"proc/mounts": MOUNTS.replace("/dev/sda2", "/dev/mapper/rhel-boot")}, "/dev/mapper/rhel-boot (ext4)"),
    "btrfs": ({"proc/mounts": "/dev/sda1 / btrfs rw 0 0\n"}, "on /dev/sda1 (btrfs)"),
}


@pytest.mark.parametrize(("files", "words"), NO_TRIAL.values(), ids=NO_TRIAL)
def test_no_trial_where_it_could_stay(files: dict[str, str], words: str) -> None:
    host = Machine({**TREES["fedora"], **files}, {})
    host.ask(WANTED)
    assert words in host.conflict()


def test_no_trial_of_an_entry_that_is_not_one_of_the_folders() -> None:
    host = Machine(TREES["fedora"], {})
    host.ask(WANTED)
    elsewhere = {key.replace("boot/loader", "boot/efi/loader"): text for key, text in host.files.items()}
    snapshot = Machine(elsewhere, {}, running="ro").snapshot()
    assert "is none of /boot/loader/entries" in bls.BlsGrub(snapshot, "/boot/grub2").no_trial()
    assert bls.BlsGrub(host.snapshot(), "/boot/grub2").no_trial() == ""


def test_stray_menu_of_the_other_name_is_not_taken_for_the_hosts() -> None:
    """`grub2-mkconfig -o /boot/grub/grub.cfg` is a known slip; both halves look at the same file."""
    host = Machine({**TREES["rhel9"], "boot/grub/grub.cfg": menu()}, {})
    host.ask(WANTED)
    host.tune()
    assert host.status() == "pending_reboot"
    assert TRIAL in host.files


def test_command_line_that_was_made_says_that_it_stays() -> None:
    host = Machine(TREES["fedora"], {})
    host.ask(WANTED, trial=False)
    (change,) = [change for change in host.changes() if change.path == "/etc/kernel/cmdline"]
    assert "the file stays" in change.reason


def test_rhel_8_on_efi_has_its_files_on_the_efi_partition() -> None:
    files = {key.replace("boot/grub2/", "boot/efi/EFI/redhat/"): text for key, text in TREES["rhel8"].items()}
    host = Machine(files, {})
    host.ask(WANTED)
    host.tune()
    host.reboot()
    host.tune()
    assert host.status() == "ok"
    assert "skew_tick=1" in host.files["boot/efi/EFI/redhat/grubenv"]


DERIVED = {
    "Rocky": 'ID="rocky"\nID_LIKE="rhel centos fedora"\n',
    "Alma": 'ID="almalinux"\nID_LIKE="rhel centos fedora"\n',
    "CentOS Stream": 'ID="centos"\nID_LIKE="rhel fedora"\n',
    "Oracle": 'ID="ol"\nID_LIKE="fedora"\n',
}


@pytest.mark.parametrize("release", DERIVED.values(), ids=DERIVED)
def test_relatives_are_known(release: str) -> None:
    found = loaders.find(Machine({**TREES["rhel9"], "etc/os-release": release}, {}).snapshot())
    assert not isinstance(found, str)
    assert found.name == "GRUB with BLS entries"
    assert merged("", {}) == ""
