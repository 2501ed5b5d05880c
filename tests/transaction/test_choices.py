"""Kernel files that show a choice in brackets: their value is the chosen word, from the plan to the way back."""

from __future__ import annotations

from pathlib import Path

import pytest
from transaction_host import JOURNAL, Target, make, state

from plugins.module_utils import transaction
from plugins.module_utils.core.change import Change, Plan
from plugins.module_utils.core.model import Status
from plugins.module_utils.core.parsers.choices import chosen, shown_after
from plugins.module_utils.tree import TreeError

HUGE = "/sys/kernel/mm/transparent_hugepage/enabled"


@pytest.fixture
def target(tmp_path: Path) -> Target:
    make(tmp_path / "root")
    path = tmp_path / "root" / HUGE[1:]
    path.parent.mkdir(parents=True)
    path.write_text("[always] madvise never\n")
    return Target(tmp_path / "root")


def tune(target: Target, word: str) -> transaction.Done:
    plan = Plan((Change("cpu_idle", "runtime", HUGE, f"{word}\n", "always\n", "why"),))
    with target.host.store.lock(create=True):
        return transaction.tune(target.host, lambda: plan, lambda: {"cpu_idle": (Status.OK, "")}, write=True)


def test_a_choice_is_read_back_journaled_described_and_put_back_as_its_word(target: Target) -> None:
    before = state(target.root)
    tune(target, "madvise")
    assert (target.root / HUGE[1:]).read_text() == "always [madvise] never\n"
    (entry,) = target.host.store.read()[0].entries
    assert (entry.before.content, entry.after.content) == (b"always", b"madvise\n")
    text = next((target.root / JOURNAL).rglob("*-undo.txt")).read_text()
    assert f"{HUGE} held 'always' in the boot" in text
    assert f"""printf '%s\\n' always > "$ROOT"{HUGE}""" in text
    way = target.revert()
    assert [(item.now.content, item.then.content) for item in way.actions] == [(b"madvise", b"always")]
    assert (way.conflicts, state(target.root)) == ((), before)


def test_a_word_that_the_kernel_does_not_offer_is_put_back(target: Target) -> None:
    before = state(target.root)
    with pytest.raises(TreeError, match=r"the kernel refused 'defer' in .*Invalid argument; what was there is back"):
        tune(target, "defer")
    assert state(target.root) == before


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("always [madvise] never\n", "madvise"),
        ("always defer [defer+madvise] madvise never\n", "defer+madvise"),
        ("[none]\n", "none"),
        # No choice, so all of it is the value.
        ("madvise\n", "madvise\n"),
        ("[a] [b]\n", "[a] [b]\n"),
        ("a [b\n", "a [b\n"),
        ("[a b]\n", "[a b]\n"),
        ("", ""),
    ],
)
def test_the_value_of_a_choice_is_its_word(text: str, word: str) -> None:
    assert chosen(text) == word


def test_what_a_kernel_file_shows_once_it_was_written() -> None:
    assert shown_after("[a] b\n", "b\n") == "a [b]\n"
    assert shown_after("[a] b\n", "c\n") is None
    assert shown_after("1\n", "0\n") == "0\n"
