"""What `--host-keys accept-new` added to known_hosts, said once: ssh says it for each host."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..transport.endpoint import Target

_NAMED = 3


class NewKeys:
    """Remembers how long the files are that new keys go to, and says what stands behind that later."""

    def __init__(self, targets: Sequence[Target]) -> None:
        ends = {end for target in targets for end in (target.endpoint, *target.endpoint.jumps)}
        files = {end.known_hosts[0] for end in ends if end.strict == "accept-new" and end.known_hosts}
        self._sizes = {name: _size(name) for name in sorted(files)}

    def said(self) -> list[str]:
        """Return a line for each file that got keys; of hashed lines no host can be named."""
        found = []
        for name, before in self._sizes.items():
            if _size(name) > before:
                with Path(name).open("rb") as source:
                    source.seek(before)
                    added = [line.split(maxsplit=1)[0].decode("utf-8", "replace") for line in source if line.split()]
                hosts = list(dict.fromkeys(word for word in added if not word.startswith("|")))
                more = len(added) - len(hosts[:_NAMED])
                words = ", ".join(hosts[:_NAMED]) + (f" and {more:,} more" if more and hosts else "")
                count = f"{len(added):,} host key{'s were' if len(added) != 1 else ' was'} new"
                found.append(f"{count}, trusted and added to {name}{': ' if words else ''}{words}")
        return found


def _size(name: str) -> int:
    try:
        found = Path(name).stat()
    except OSError:
        return 0
    # A user without known_hosts has /dev/null there, which keeps nothing.
    return found.st_size if Path(name).is_file() else 0
