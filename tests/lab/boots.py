"""Trial boots that do not come up: a guest's initramfs stops at words of the lab's own.

numatune refuses the arguments that stop a boot by themselves.
"""

from __future__ import annotations

from lab.guest import Guest

# Its panic, told panic=10 as every trial is, reboots; nothing but a power cycle ends the sleep.
GIVES_UP = {"lab_trial": "gives_up"}
HANGS = {"lab_trial": "hangs"}
_STOPS = """cat >/etc/initramfs-tools/scripts/init-premount/lab <<'SCRIPT'
#!/bin/sh
[ "$1" != prereqs ] || exit 0
. /scripts/functions
grep -q lab_trial=gives_up /proc/cmdline && panic "the lab"
grep -q lab_trial=hangs /proc/cmdline && sleep 86400
exit 0
SCRIPT
chmod 755 /etc/initramfs-tools/scripts/init-premount/lab && update-initramfs -u && sync"""


def stop_at_words(guest: Guest) -> Guest:
    """Let that guest's next boots give up, or hang, where their arguments say so."""
    guest.ssh(_STOPS)
    return guest
