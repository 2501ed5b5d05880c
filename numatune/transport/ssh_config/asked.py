"""What the ssh program of this machine says of single lines of ssh_config: whether it would refuse them.

The lines are put under a Host line that no host fits, where ssh checks them and does nothing that they say; none of
them is a Match with a command, so none runs. One process serves all doubtful lines of a file.
"""

from __future__ import annotations

import os
import re
import subprocess
from functools import lru_cache

NOBODY = "numatune-asks-about-no-host.invalid"
_SECONDS = 10
_BAD = re.compile(r"/dev/stdin:? line (\d+): (.*)")


@lru_cache(64)
def refused(lines: tuple[str, ...]) -> dict[int, str] | None:
    """Return place of line -> ssh's words about it, for those that it refuses; None where no ssh can be asked.

    A line is `keyword arguments`; one that holds a line break or a NUL is refused.
    """
    broken = [place for place, line in enumerate(lines) if any(sign in line for sign in "\n\0")]
    if broken:
        return dict.fromkeys(broken, "it holds a line break or a NUL")
    text = "".join(f"{line}\n" for line in (f"Host {NOBODY}", *lines))
    try:
        told = subprocess.run(
            ["ssh", "-G", "-F", "/dev/stdin", "numatune-asks"],
            input=text.encode("utf-8", "surrogateescape"),
            capture_output=True,
            timeout=_SECONDS,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if told.returncode == 0:
        return {}
    said = told.stderr.decode("utf-8", "replace").splitlines()
    found = {int(match[1]) - 2: match[2] for line in said if (match := _BAD.match(line))}
    return found or None
