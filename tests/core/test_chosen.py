"""Which settings tags leave, what the inventory adds, and which are changed in one transaction."""

from __future__ import annotations

import re
from datetime import date

import pytest
from synthetic import Tree, host

from numatune.core import inventory
from numatune.core.catalogue import SETTINGS, setting
from numatune.core.chosen import also, chosen, transactions
from numatune.core.collecting.replay import collect
from numatune.core.errors import InputError
from numatune.core.plan import make_plan

DEFAULT = (
    "numa_balancing",
    "cpu_governor",
    "cpu_idle",
    "irqbalance",
    "irq_affinity",
    "core_isolation",
    "kernel_arguments",
)
CASES = {
    "no tags": (("all",), (), (), DEFAULT),
    "tagged ones": (("tagged",), (), (), DEFAULT),
    "all, and one that is not tuned by default": (("all", "ksm"), (), (), (*DEFAULT, "ksm")),
    "no tags, and two more": (("all",), (), ["swappiness", "ksm"], (*DEFAULT, "ksm", "swappiness")),
    "text with commas": (("all",), (), "ksm, swappiness", (*DEFAULT, "ksm", "swappiness")),
    "one": (("cpu_idle", "reboot"), (), (), ("cpu_idle",)),
    "one that is not tuned by default": (("ksm",), (), (), ("ksm",)),
    "a tag names nothing else": (("cpu_idle",), (), ["ksm"], ("cpu_idle",)),
    "one that stands for two": (("irq_affinity",), (), (), ("irqbalance", "irq_affinity")),
    "one of the two": (("irqbalance",), (), (), ("irqbalance",)),
    "two are left out": (
        ("all",),
        ("irq_affinity",),
        (),
        tuple(name for name in DEFAULT if not name.startswith("irq")),
    ),
    "one of the two is left out": (
        ("all",),
        ("irqbalance",),
        (),
        tuple(name for name in DEFAULT if name != "irqbalance"),
    ),
    "what was named is left out": (("all",), ("ksm",), ["ksm"], DEFAULT),
    "an audit alone": (("audit",), (), ["ksm"], ()),
    "a user's own": (("irq", "governor", "site"), (), (), ()),
}


@pytest.mark.parametrize(("run", "skip", "named", "wanted"), CASES.values(), ids=CASES)
def test_tags_leave(run: tuple[str, ...], skip: tuple[str, ...], named: object, wanted: tuple[str, ...]) -> None:
    assert chosen(run, skip, named) == wanted


@pytest.mark.parametrize(
    ("run", "skip", "named", "said"),
    [
        (("cpu_idel",), (), (), "no setting has the tag cpu_idel: did you mean cpu_idle?"),
        (("all",), ("numabalancing",), (), "no setting has the tag numabalancing: did you mean numa_balancing?"),
        (("mitigations",), (), (), "mitigations is reported, and numatune never changes it"),
        (("all",), (), ["mitigations"], "mitigations is reported, and numatune never changes it"),
        (("all",), (), ["kms"], "no setting named 'kms' (did you mean ksm?)"),
        (("all",), (), {"ksm": True}, "a list of settings is wanted, not {'ksm': True}"),
        (("all",), (), [1], "a list of settings is wanted, not [1]"),
    ],
)
def test_a_slip_is_refused(run: tuple[str, ...], skip: tuple[str, ...], named: object, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        chosen(run, skip, named)


def test_what_the_tag_of_one_stands_for_is_one_transaction() -> None:
    assert transactions(DEFAULT) == (
        ("numa_balancing",), ("cpu_governor",), ("cpu_idle",), ("irqbalance", "irq_affinity"), ("core_isolation",),
        ("kernel_arguments",),
    )  # fmt: skip
    assert transactions({"swappiness", "irqbalance"}) == (("irqbalance",), ("swappiness",))
    for item in SETTINGS:
        assert not item.tuned_with or setting(item.tuned_with).changes


def test_every_option_of_what_is_tuned_has_a_variable_of_its_own() -> None:
    declared = [(item.name, option) for item in SETTINGS if item.changes for option in item.options]
    assert list(inventory.OPTIONS.values()) == declared
    assert inventory.OPTIONS["tune_transparent_hugepage_defrag_expected"] == ("transparent_hugepage_defrag", "expected")


def test_the_inventory_names_what_is_planned_beside_what_is_so_by_default() -> None:
    snapshot = collect(Tree(host(4, numa_balancing="0") | {"proc/sys/vm/swappiness": "60\n"}), complete=True)

    def planned(**variables: object) -> set[str]:
        plan = make_plan(snapshot, inventory.wanted(variables), date(2027, 1, 1))
        return {change.setting for change in plan.changes}

    assert planned(tune_also=["swappiness"]) - planned() == {"swappiness"}
    assert planned(tune_also="swappiness") == planned(tune_also=["swappiness"])
    assert planned(tune_also=[]) == planned()
    assert also("") == ()
    with pytest.raises(InputError, match=r"^tune_also: no setting named 'swapiness' \(did you mean swappiness"):
        inventory.wanted({"tune_also": ["swapiness"]})
