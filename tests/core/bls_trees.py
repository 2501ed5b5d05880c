"""The boot files of RHEL 8, 9, 10 and Fedora, as far as kernel arguments go: made by hand after their layout.

RHEL 8 keeps the arguments in grubenv's kernelopts; from RHEL 9 on each entry has its own, and /etc/kernel/cmdline
holds those of the next kernel. TuneD's two variables stand in the entries of RHEL; nothing was taken from a machine.
"""

from __future__ import annotations

MACHINE = "0f3e5c7d9b1a4f6e8c2d4b6a8f0e1c3d"
ENTRIES = "boot/loader/entries"
_CONFIG = """\
### BEGIN /etc/grub.d/00_header ###
set pager=1
if [ -f ${config_directory}/grubenv ]; then
  load_env -f ${config_directory}/grubenv
elif [ -s $prefix/grubenv ]; then
  load_env
fi
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
   set next_entry=
   save_env next_entry
   set boot_once=true
else
   set default="${saved_entry}"
fi
### END /etc/grub.d/00_header ###

### BEGIN /etc/grub.d/10_linux ###
insmod part_gpt
set root='hd0,gpt2'
FALLBACKinsmod blscfg
blscfg
### END /etc/grub.d/10_linux ###
"""


def block(**variables: str) -> str:
    """Return a grubenv of 1024 bytes."""
    text = "# GRUB Environment Block\n" + "".join(f"{name}={value}\n" for name, value in variables.items())
    return text + "#" * (1024 - len(text))


def rescue() -> str:
    return f"{ENTRIES}/{MACHINE}-0-rescue.conf"


def path(kernel: str) -> str:
    return f"{ENTRIES}/{MACHINE}-{kernel}.conf"


def entry(name: str, kernel: str, options: str, more: str) -> str:
    initrd = f"/initramfs-{kernel}.img" + (" $tuned_initrd" if "$tuned_params" in options else "")
    return (
        f"title {name} ({kernel})\nversion {kernel}\nlinux /vmlinuz-{kernel}\n"
        f"initrd {initrd}\noptions {options}\n{more}"
    )


def _rhel8() -> dict[str, str]:
    root = "root=/dev/mapper/rhel-root ro crashkernel=auto resume=/dev/mapper/rhel-swap rd.lvm.lv=rhel/root rhgb quiet"
    more = "id rhel-20260101000000-{0}\ngrub_users $grub_users\ngrub_arg --unrestricted\ngrub_class kernel\n"
    kernels = ("4.18.0-553.16.1.el8_10.x86_64", "4.18.0-553.el8_10.x86_64")
    name = "Red Hat Enterprise Linux"
    return {
        "etc/os-release": 'NAME="Red Hat Enterprise Linux"\nID="rhel"\nID_LIKE="fedora"\nVERSION_ID="8.10"\n',
        "etc/default/grub": (
            f'GRUB_DEFAULT=saved\nGRUB_CMDLINE_LINUX="{root.partition(" ro ")[2]}"\nGRUB_ENABLE_BLSCFG=true\n'
        ),
        "boot/grub2/grub.cfg": _CONFIG.replace(
            "FALLBACK", f'if [ -z "${{kernelopts}}" ]; then\n  set kernelopts="{root} "\nfi\n'
        ),
        "boot/grub2/grubenv": block(saved_entry=f"{MACHINE}-{kernels[0]}", kernelopts=f"{root} ", boot_success="0"),
        **{path(each): entry(name, each, "$kernelopts $tuned_params", more.format(each)) for each in kernels},
        rescue(): entry(name, f"0-rescue-{MACHINE}", "$kernelopts", more.format("0-rescue")),
    }


def _own_options(
    release: str, kernels: tuple[str, ...], root: str, options: str, *, command_line: bool, default: str = ""
) -> dict[str, str]:
    more = "grub_users $grub_users\ngrub_arg --unrestricted\ngrub_class rhel\n"
    files = {
        "etc/os-release": release,
        "etc/default/grub": (
            "GRUB_TIMEOUT=5\nGRUB_DISTRIBUTOR=\"$(sed 's, release .*$,,g' /etc/system-release)\"\nGRUB_DEFAULT=saved\n"
            f'{default}GRUB_CMDLINE_LINUX="rd.lvm.lv=vg/root quiet"\nGRUB_ENABLE_BLSCFG=true\n'
        ),
        "boot/grub2/grub.cfg": _CONFIG.replace("FALLBACK", ""),
        "boot/grub2/grubenv": block(saved_entry=f"{MACHINE}-{kernels[0]}", boot_success="1", menu_auto_hide="1"),
        **{path(each): entry("Linux", each, options, more) for each in kernels},
        rescue(): entry("Linux", f"0-rescue-{MACHINE}", root, more),
    }
    if command_line:
        files["etc/kernel/cmdline"] = f"{root}\n"
    return files


_LVM = "root=/dev/mapper/vg-root ro crashkernel=1G-4G:192M,4G-64G:256M,64G-:512M rd.lvm.lv=vg/root quiet"
_BTRFS = "root=UUID=11111111-2222-3333-4444-555555555555 ro rootflags=subvol=root rhgb quiet"

TREES = {
    "rhel8": _rhel8(),
    "rhel9": _own_options(
        'ID="rhel"\nID_LIKE="fedora"\nVERSION_ID="9.6"\n',
        ("5.14.0-570.12.1.el9_6.x86_64", "5.14.0-503.el9_5.x86_64"),
        _LVM,
        f"{_LVM} $tuned_params",
        command_line=True,
    ),
    "rhel10": _own_options(
        'ID="rhel"\nID_LIKE="centos fedora"\nVERSION_ID="10.1"\n',
        ("6.12.0-124.8.1.el10_1.x86_64", "6.12.0-55.el10_0.x86_64"),
        _LVM,
        f"{_LVM} $tuned_params",
        command_line=True,
    ),
    "fedora": _own_options(
        "ID=fedora\nVERSION_ID=43\n",
        ("6.17.1-300.fc43.x86_64", "6.16.8-200.fc43.x86_64"),
        _BTRFS,
        _BTRFS,
        command_line=False,
        default='GRUB_CMDLINE_LINUX_DEFAULT=""\n',
    ),
}
