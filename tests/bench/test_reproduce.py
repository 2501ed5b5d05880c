"""The script that switches NUMA balancing changes nothing unless it is told to in so many words."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks/reproduce_numa_balancing.sh"
KNOB = Path("/proc/sys/kernel/numa_balancing")


@pytest.mark.parametrize("words", [(), ("--iterations", "5"), ("--iterations",)])
def test_it_asks_first(words: tuple[str, ...]) -> None:
    before = KNOB.read_text() if KNOB.exists() else None
    done = subprocess.run([str(SCRIPT), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert (KNOB.read_text() if KNOB.exists() else None) == before


def test_whatever_ends_it_puts_the_value_back() -> None:
    """The trap is set before the first write, and names every signal that a shell can catch."""
    text = SCRIPT.read_text()
    assert text.index("trap restore EXIT") < text.index('printf \'%s\\n\' "$value" >"$knob"')
    assert all(f"' {signal}\n" in text for signal in ("HUP", "INT", "TERM"))
