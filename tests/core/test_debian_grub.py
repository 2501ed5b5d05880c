"""Debian's GRUB: the drop-in as a shell reads it, the menu that is predicted, the trial's entry, what is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from core.grub_cfg import debian, menu
from core.machine import MOUNTS, Machine

from numatune.core.loaders import find as loaders
from numatune.core.loaders.arguments import join, merged
from numatune.core.loaders.debian_grub import drop_in, predicted, with_trial
from numatune.core.parsers import grub

WANTED = {"isolcpus": "managed_irq,domain,1-3", "nohz_full": "1-3", "threadirqs": "", "pci": "realloc*"}
CONFIG, DROP_IN, SCRIPT = "boot/grub/grub.cfg", "etc/default/grub.d/zz-numatune.cfg", "etc/grub.d/zz_numatune"
VALUES = (
    "",
    "quiet",
    "quiet splash",
    "foo=*",
    "* ? [a]",
    "isolcpus=5 quiet",
    "quiet isolcpus=5",
    "isolcpus=5",
    "isolcpus=5 isolcpus=6 nohz-full=3 nohz_full threadirqs=x",
    "isolcpusx=5 xisolcpus=5 nohz_full.x=1",
    'dyndbg="file a.c +p" quiet',
    "x='a b' quiet",
    "x=it's quiet",
    "x=\\$y \\`z\\`",
    "quiet -- isolcpus=5",
    "-- init nohz_full=1",
    "-n -e quiet",
    "= == a=b=c",
    "  quiet   splash  ",
    "quiet\tisolcpus=5\tsplash",
    "\n quiet \n",
)


def sourced(value: str, text: str, folder: Path) -> str:
    """Return what a shell as grub-mkconfig's makes of the drop-in after a file that sets the variable."""
    (folder / "isolcpus=7").touch()  # what a glob that is not switched off would find
    (folder / "foo=x").touch()
    (folder / "a").touch()
    (folder / "drop-in").write_text(text)
    script = '. ./drop-in\nprintf "%s" "$GRUB_CMDLINE_LINUX_DEFAULT"\n[ -z "${numatune_token+x}${numatune_kept+x}" ]\n'
    # Globbing is on again afterwards.
    script += 'set -- *; [ "$1" != "*" ] || exit 9\n'
    done = subprocess.run(
        ["sh", "-e", "-c", script],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "GRUB_CMDLINE_LINUX_DEFAULT": value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_drop_in_does_in_a_shell_what_merged_does(value: str, tmp_path: Path) -> None:
    found = sourced(value, drop_in(WANTED), tmp_path)
    assert found == merged(" ".join(value.split()), WANTED)
    assert sourced(found, drop_in(WANTED), tmp_path) == found


def test_drop_in_works_where_the_variable_is_not_set(tmp_path: Path) -> None:
    (tmp_path / "drop-in").write_text(drop_in(WANTED))
    script = '. ./drop-in; printf "%s" "$GRUB_CMDLINE_LINUX_DEFAULT"'
    done = subprocess.run(["sh", "-e", "-c", script], cwd=tmp_path, env={}, capture_output=True, text=True, check=True)
    assert done.stdout == join(WANTED)


A = {"a": "1"}
PREDICTED = {
    "stock": ({}, "", "quiet a=1"),
    "empty": ({"normal": ""}, "", "a=1"),
    "replaced": ({"normal": "a=2 quiet"}, "", "quiet a=1"),
    "common": ({"common": "console=ttyS0", "normal": "quiet"}, "console=ttyS0", "quiet a=1"),
    "common alone": ({"common": "net.ifnames=0", "normal": ""}, "net.ifnames=0", "a=1"),
    "two kernels": ({"kernels": ("6.1.0-10", "6.1.0-9")}, "", "quiet a=1"),
    "saved": ({"default": "${saved_entry}"}, "", "quiet a=1"),
}


@pytest.mark.parametrize(("made", "common", "normal"), PREDICTED.values(), ids=PREDICTED)
def test_predicted_menu_is_what_the_changed_variable_makes(made: dict[str, object], common: str, normal: str) -> None:
    """Submenus too; the recovery entries, other systems' and the memory test's stay as they are."""
    before = menu(**made)
    assert predicted(before, A) == menu(**{**made, "common": common, "normal": normal})
    assert before.count("isolcpus=9") == 2


def test_predicted_menu_without_the_arguments_is_the_one_before() -> None:
    for normal in ("quiet", "", "quiet splash"):
        assert predicted(predicted(menu(normal=normal), A), {}, ["a=1"]) == menu(normal=normal)


def test_trials_section_comes_last_and_goes_without_a_trace() -> None:
    before = menu()
    once = with_trial(before, "menuentry x {\n}\n")
    assert once.endswith(
        "\n\n### BEGIN /etc/grub.d/zz_numatune ###\nmenuentry x {\n}\n### END /etc/grub.d/zz_numatune ###\n"
    )
    assert with_trial(with_trial(once, "menuentry y {\n}\n"), "menuentry x {\n}\n") == once
    assert with_trial(once, "") == before == with_trial(before, "")


KERNELS = ("6.1.0-10", "6.1.0-9")
DEFAULTS = {
    "first": ({}, "", "vmlinuz-6.1.0-10"),
    "by number in a submenu": ({"default": "1>2"}, "", "vmlinuz-6.1.0-9"),
    "by id in a submenu": ({"default": "gnulinux-advanced-U>gnulinux-6.1.0-9-advanced-U"}, "", "vmlinuz-6.1.0-9"),
    "saved": ({"default": "${saved_entry}"}, "gnulinux-advanced-U>gnulinux-6.1.0-9-advanced-U", "vmlinuz-6.1.0-9"),
    "saved, none is": ({"default": "${saved_entry}"}, "", "vmlinuz-6.1.0-10"),
}


@pytest.mark.parametrize(("made", "saved", "kernel"), DEFAULTS.values(), ids=DEFAULTS)
def test_trial_is_a_copy_of_the_default_entry(made: dict[str, object], saved: str, kernel: str, tmp_path: Path) -> None:
    machine = Machine(debian(kernels=KERNELS, normal="quiet isolcpus=7", **made), {})
    if saved:
        machine.files["boot/grub/grubenv"] = grub.with_variable("", "saved_entry", saved)
    default = machine.next(once=False)
    machine.ask({"isolcpus.x": "1"})
    done = machine.tune()
    block = "/boot/grub/grubenv"
    armed = [("once", f"{block}:numatune_trial"), ("once", f"{block}:next_entry")]
    assert done == [("file", f"/{SCRIPT}"), ("menu", f"/{CONFIG}"), *armed]
    assert machine.next(once=False) == default
    assert machine.next().split() == [*default.split(), "isolcpus.x=1", "panic=10"]
    entry = grub.entries(CONFIG, machine.files[CONFIG])[-1]
    assert (entry.ident, kernel in str(entry.linux)) == ("numatune-trial", True)
    lines = machine.files[CONFIG].splitlines()[entry.start - 1 : entry.end]
    assert "--class debian --class os" in lines[0]
    assert any("load_video" in line for line in lines)
    assert any(line.strip() == f"initrd\t/boot/initrd.img-{kernel[8:]}" for line in lines)
    assert not any("savedefault" in line for line in lines), "an entry for one boot must not become the default"

    (tmp_path / "script").write_text(machine.files[SCRIPT])
    printed = subprocess.run(["sh", str(tmp_path / "script")], capture_output=True, text=True, check=True).stdout
    assert printed in machine.files[CONFIG]
    assert machine.plan().conflicts == ()


FALLBACKS = {
    "first": ({}, 0),
    "by id": ({"default": "gnulinux-simple-U"}, 0),
    "by number in a submenu": ({"default": "1>0"}, None),
    "by id in a submenu": ({"default": "gnulinux-advanced-U>gnulinux-6.1.0-9-advanced-U"}, None),
}


@pytest.mark.parametrize(("made", "number"), FALLBACKS.values(), ids=FALLBACKS)
def test_trial_that_does_not_load_goes_on_with_the_default_and_no_other(
    made: dict[str, object], number: int | None
) -> None:
    machine = Machine(debian(kernels=KERNELS, **made), {})
    machine.ask(A)
    machine.tune()
    config = machine.files[CONFIG]
    # Only where the header took the trial out of the environment block for the default of this boot.
    guarded = f'if [ "${{default}}" = "numatune-trial" ]; then\n  set fallback={number}\nfi\nmenuentry'
    assert (config.count(guarded), config.count("fallback")) == ((0, 0) if number is None else (1, 1))


def test_fallback_is_the_defaults_place_among_the_top_entries() -> None:
    files = debian(kernels=KERNELS)
    own = "### BEGIN /etc/grub.d/05_own ###\nmenuentry 'x' {\n}\n### END /etc/grub.d/05_own ###\n"
    files[CONFIG] = (
        files[CONFIG]
        .replace('default="0"', 'default="gnulinux-simple-U"')
        .replace("### BEGIN /etc/grub.d/10_linux", own + "### BEGIN /etc/grub.d/10_linux")
    )
    machine = Machine(files, {})
    machine.ask(A)
    for _ in range(2):
        machine.tune()
        assert "set fallback=1\n" in machine.files[CONFIG]


CONFLICTS = {
    "common arguments": (debian(common="a=2"), {}, "/etc/default/grub line 5 sets a for the recovery entries too"),
    "common, other spelling": (debian(common="b-c=2"), {}, "sets b_c for the recovery entries too"),
    "init takes the rest": (debian(common="-- x"), {}, "gives all arguments behind it to init"),
    "TuneD's": (
        {**debian(), CONFIG: 'set tuned_params="skew_tick=1 a=2"\n' + menu(normal="quiet $tuned_params")},
        {},
        "TuneD adds a to every entry (/boot/grub/grub.cfg): take it out of its profile",
    ),
    "a later file": (
        debian(),
        {"etc/default/grub.d/zzz.cfg": 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\n'},
        "/etc/default/grub.d/zzz.cfg line 1 is read after /etc/default/grub.d/zz-numatune.cfg and would win",
    ),
    "a later file adds the key": (
        debian(),
        {"etc/default/grub.d/zzz.cfg": 'x=1\nGRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT a=3"\n'},
        "/etc/default/grub.d/zzz.cfg line 2 is read after",
    ),
    "a file's common arguments": (
        debian(),
        {"etc/default/grub.d/10.cfg": "export GRUB_CMDLINE_LINUX='quiet a'\n"},
        "/etc/default/grub.d/10.cfg line 1 sets a for the recovery entries too",
    ),
    "foreign drop-in": (debian(), {DROP_IN: "# mine\n"}, f"/{DROP_IN} exists and is not numatune's"),
    "foreign script": (debian(), {SCRIPT: "#!/bin/sh\n"}, f"/{SCRIPT} exists and is not numatune's"),
    "foreign note": (debian(), {"etc/numatune/kernel-arguments": "x=1\n"}, "kernel-arguments exists and is not"),
    "common arguments by a detour": (
        {**debian(), CONFIG: menu(common="a=2")},
        {},
        "line 40: a recovery entry holds a, which comes from GRUB_CMDLINE_LINUX",
    ),
    "quotes around it": (debian(normal='x="b a=2"'), {}, "a quoted argument with blanks names a"),
    "the default is a recovery entry": (debian(default="1>1"), {}, "the default entry is a recovery one"),
    "the default is another system": (debian(default="3"), {}, "or is not made by /etc/grub.d/10_linux"),
    "full environment": (
        {**debian(), "boot/grub/grubenv": "# GRUB Environment Block\nx=" + "y" * 990 + "\n"},
        {},
        "next_entry does not fit into GRUB's environment block of 1024 bytes",
    ),
    "the default is the memory test": (debian(default="2>1"), {}, "or is not made by /etc/grub.d/10_linux"),
}


@pytest.mark.parametrize(("files", "more", "words"), CONFLICTS.values(), ids=CONFLICTS)
def test_what_would_win_over_the_drop_in_is_a_conflict(files: dict[str, str], more: dict[str, str], words: str) -> None:
    machine = Machine({**files, **more}, {}, running="ro quiet")
    machine.ask({"a": "1", "b_c": "1"})
    assert words in machine.conflict()
    machine.ask({"a": "1", "b_c": "1"}, trial=False)
    assert words in machine.conflict()
    assert machine.status() != "ok"


COOPERATED = {
    "a cloud image's": {
        "etc/default/grub.d/50-cloudimg-settings.cfg": 'GRUB_CMDLINE_LINUX_DEFAULT="console=tty1 a=2"\n'
    },
    "disabled": {"etc/default/grub.d/zzz.cfg.disabled": 'GRUB_CMDLINE_LINUX="a=2"\n'},
    "commented": {"etc/default/grub.d/zzz.cfg": '#GRUB_CMDLINE_LINUX="a=2"\n'},
    "later, adds": {"etc/default/grub.d/zzz.cfg": 'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT x"\n'},
    "later, adds with +=": {"etc/default/grub.d/zzz.cfg": 'GRUB_CMDLINE_LINUX_DEFAULT+=" x"\n'},
    "later, another variable": {"etc/default/grub.d/zzz.cfg": "GRUB_TIMEOUT=1\n"},
    "longer key": {"etc/default/grub.d/10.cfg": 'GRUB_CMDLINE_LINUX="a.b=2 ab=2"\n'},
}


@pytest.mark.parametrize("more", COOPERATED.values(), ids=COOPERATED)
def test_other_drop_ins_are_cooperated_with(more: dict[str, str]) -> None:
    machine = Machine({**debian(), **more}, {})
    machine.ask(A)
    machine.tune()
    assert machine.status() == "pending_reboot"
    assert {path: machine.files[path] for path in more} == more


NO_TRIAL = {
    "LVM": (
        MOUNTS.replace("/dev/sda2", "/dev/mapper/vg-boot"),
        "GRUB cannot write /boot/grub/grubenv on /dev/mapper/vg",
    ),
    "RAID": (MOUNTS.replace("/dev/sda2", "/dev/md0"), "on /dev/md0 (ext4)"),
    "device mapper": (MOUNTS.replace("/dev/sda2", "/dev/dm-1"), "on /dev/dm-1 (ext4)"),
    "btrfs": (MOUNTS.replace("/boot ext4", "/boot btrfs"), "(btrfs)"),
    "btrfs, no /boot of its own": ("/dev/sda1 / btrfs rw 0 0\n", "on /dev/sda1 (btrfs)"),
    "no mounts": (None, "what /boot/grub/grubenv lies on is not known"),
    "no such mount": ("proc /proc proc rw 0 0\n", "no mount holds it"),
}


@pytest.mark.parametrize(("mounts", "words"), NO_TRIAL.values(), ids=NO_TRIAL)
def test_no_trial_where_grub_cannot_take_it_back(mounts: str | None, words: str) -> None:
    machine = Machine(debian(), {})
    machine.files.pop("proc/mounts")
    if mounts:
        machine.files["proc/mounts"] = mounts
    machine.ask(A)
    message = machine.conflict()
    assert words in message
    assert message.startswith("no trial boot: ")
    assert "set tune_kernel_arguments_trial: false" in message
    machine.ask(A, trial=False)
    machine.tune()
    assert machine.status() == "pending_reboot"


def test_the_nearest_mount_counts() -> None:
    machine = Machine(debian(), {})
    machine.files["proc/mounts"] = "rootfs / rootfs rw 0 0\n/dev/mapper/x / ext4 rw 0 0\n/dev/sda2 /boot xfs rw 0 0\n"
    machine.ask(A)
    machine.tune()


def test_a_menu_that_does_not_know_next_entry_takes_no_trial() -> None:
    files = debian()
    files[CONFIG] = files[CONFIG].replace("next_entry", "next_one")
    machine = Machine(files, {})
    machine.ask(A)
    assert "grub.cfg does not look at next_entry" in machine.conflict()


def test_somebodys_one_time_boot_is_not_taken_away() -> None:
    machine = Machine(debian(), {})
    machine.files["boot/grub/grubenv"] = grub.with_variable("", "next_entry", "2")
    machine.ask(A)
    assert "boots 2 once, which somebody asked for" in machine.conflict()


ENTRY = {"boot/loader/entries/x.conf": "version 1\noptions root=x\n"}
LOADERS = {
    "systemd-boot": ({"boot/loader/loader.conf": "timeout 3\n", **ENTRY}, "the boot loader is systemd-boot"),
    "systemd-boot on the EFI partition": ({"boot/efi/loader/loader.conf": "timeout 3\n"}, "is systemd-boot"),
    "two": ({**debian(), "boot/efi/loader/loader.conf": "x\n"}, "which loader starts is not known"),
    "extlinux": ({"boot/extlinux/extlinux.conf": "x\n"}, "is extlinux"),
    "Raspberry Pi": ({"boot/firmware/cmdline.txt": "x\n"}, "is the Raspberry Pi's firmware"),
    "unified kernel image": ({"boot/efi/EFI/Linux/a.efi": "x"}, "is unified kernel images"),
    "ostree": (
        {
            "ostree/deploy/x": "",
            "boot/grub2/grub.cfg": "blscfg\n",
            "etc/os-release": "ID=fedora\n",
            **ENTRY,
        },
        "is ostree (use rpm-ostree kargs)",
    ),
    "Proxmox": ({**debian(), "etc/kernel/proxmox-boot-uuids": "AB-CD\n"}, "under proxmox-boot-tool"),
    "SUSE": (
        {"boot/grub2/grub.cfg": menu(), "etc/os-release": 'ID="sles"\nID_LIKE="suse"\n'},
        "GRUB of sles suse is not one",
    ),
    "SUSE's BLS": (
        {"boot/grub2/grub.cfg": "blscfg\n", "etc/os-release": 'ID="opensuse-tumbleweed"\nID_LIKE="suse"\n', **ENTRY},
        "BLS entries of opensuse-tumbleweed suse are not ones",
    ),
    "RHEL 7": ({"boot/grub2/grub.cfg": menu(), "etc/os-release": 'ID="rhel"\n'}, "GRUB of rhel is not one"),
    "no release": ({"boot/grub/grub.cfg": menu()}, "GRUB of an unnamed distribution is not one"),
    "s390x": ({"proc/sys/kernel/osrelease": "5.14.0-1.el9.s390x\n", **ENTRY}, "is zipl"),
    "ppc64le": (
        {
            "proc/sys/kernel/osrelease": "5.14.0-1.el9.ppc64le\n",
            "boot/grub2/grub.cfg": "blscfg\n",
            "etc/os-release": 'ID="rhel"\n',
            **ENTRY,
        },
        "BLS entries on ppc64le",
    ),
    "entries of no known loader": (ENTRY, "is not known, with entries under /boot/loader/entries"),
    "Debian without its defaults": (
        {"boot/grub/grub.cfg": menu(), "etc/os-release": "ID=debian\n"},
        "without /etc/default/grub",
    ),
    "none": ({}, "its kernel is started from outside"),
}


@pytest.mark.parametrize(("files", "words"), LOADERS.values(), ids=LOADERS)
def test_loaders_that_are_not_written_to_are_named(files: dict[str, str], words: str) -> None:
    machine = Machine(files, {}, running="ro")
    found = loaders.find(machine.snapshot())
    assert isinstance(found, str)
    assert words in found
    for trial in (True, False):
        machine.ask(A, trial=trial)
        assert words in machine.conflict()
    assert machine.status() == "wrong"
    assert words in machine.judge().reason
    machine.ask({})
    assert machine.status() == "not_applicable"


def test_the_vendors_release_file_counts_where_etc_has_none() -> None:
    files = debian()
    files["usr/lib/os-release"] = files.pop("etc/os-release").replace("debian", "ubuntu\nID_LIKE=debian")
    assert not isinstance(loaders.find(Machine(files, {}).snapshot()), str)


def test_no_line_of_the_hosts_menu_ends_what_the_script_prints(tmp_path: Path) -> None:
    """The default entry is copied into a shell script: whatever stands in it, it is printed and never run."""
    ends = ["NUMATUNE_END_OF_ENTRY", "NUMATUNE_END_OF_ENTRY_", f"touch {tmp_path}/PWNED"]
    files = debian()
    files[CONFIG] = files[CONFIG].replace("\tload_video\n", "".join(f"{line}\n" for line in ends), 1)
    machine = Machine(files, {})
    machine.ask(A)
    machine.tune()
    (tmp_path / "script").write_text(machine.files[SCRIPT])
    printed = subprocess.run(["sh", str(tmp_path / "script")], capture_output=True, text=True, check=True).stdout
    assert not (tmp_path / "PWNED").exists()
    assert all(f"{line}\n" in printed for line in ends)
    assert printed in machine.files[CONFIG]
