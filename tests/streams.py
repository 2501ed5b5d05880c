"""Collector streams that tests write themselves, headed as today's script heads its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from numatune.core.collecting.asked import checksums
from numatune.core.collecting.collector import sources
from numatune.core.collecting.snapshot import MAGIC
from numatune.core.sources import KERNEL_CONFIG, Command, ProgramWord, Source


def head(asked: Iterable[Source]) -> str:
    """Return how the stream of a script begins that looked for these sources."""
    return f"{MAGIC}\n@asked {' '.join(checksums(asked))}\n"


HEAD = head(sources())
"""What begins the stream of a script that looked for all that today's does; without "@asked" nothing is absent."""

_NAMES = [source.name for source in sources() if isinstance(source, (Command, ProgramWord))] + [KERNEL_CONFIG]
COMMANDS = "@command cpu_dma_latency 0\n| 2000000000\n" + "".join(
    f"@command {name} absent\n" for name in _NAMES if name != "cpu_dma_latency"
)
"""The answers of a host that has none of the programs, and on which no process asks for a latency."""


def stream(files: Mapping[str, str], more: str = "") -> str:
    """Return what the collector would print of a host that holds these files (paths without the leading slash).

    `more` is put before the last line.
    """
    states = "".join(f"f /{path}\n" for path in files)
    texts = "".join(f"/{path}:{line}\n" for path, text in files.items() for line in text.splitlines())
    return f"{HEAD}@states\nd /proc\nd /sys\n{states}@texts\n{texts}{COMMANDS}{more}@end\n"
