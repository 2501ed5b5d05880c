"""What a profile may say, and how it is told that it may not."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest

from numatune.core import inventory
from numatune.core.catalogue import names
from numatune.core.errors import InputError
from numatune.core.model import Severity, Waiver
from numatune.core.profile import builtin, from_mapping

WAIVER = {"setting": "cpu_idle", "owner": "ops", "reason": "power", "expires": "2027-01-31"}


def test_empty_profile_is_the_builtin_one() -> None:
    assert from_mapping({}) == builtin("inference-latency")
    assert from_mapping({"cpus": None, "settings": None, "waivers": None}) == from_mapping({})


def test_builtin_of_another_name_is_refused() -> None:
    with pytest.raises(InputError, match="no profile named 'x'; there is inference-latency"):
        builtin("x")


SETTINGS: list[tuple[dict[str, Any], str, Any]] = [
    ({"name": "mine"}, "name", "mine"),
    ({"settings": {"cpu_idle": False}}, "settings", tuple(name for name in names() if name != "cpu_idle")),
    ({"settings": {"cpu_idle": True, "irqbalance": None}}, "settings", names()),
    ({"settings": {"cpu_idle": {"severity": "info"}}}, "severities", {"cpu_idle": Severity.INFO}),
    (
        {"settings": {"cpu_idle": {"max_exit_latency_us": 70}}},
        "options",
        {"cpu_idle": {"max_exit_latency_us": 70}},
    ),
    ({"settings": {"core_isolation": {"mode": "kernel"}}}, "options", {"core_isolation": {"mode": "kernel"}}),
    ({"cpus": {"housekeeping_cores_per_node": 2}}, "housekeeping_cores_per_node", 2),
    ({"waivers": [WAIVER]}, "waivers", (Waiver("cpu_idle", "ops", "power", "2027-01-31"),)),
]


@pytest.mark.parametrize(("mapping", "field", "wanted"), SETTINGS)
def test_profile_says(mapping: dict[str, Any], field: str, wanted: Any) -> None:
    assert getattr(from_mapping(mapping), field) == wanted


CPUS = [("2-7,10", "2-7,10"), ([2, 3, "5-6"], "2-3,5-6"), (4, "4"), ("", None), (None, None)]


@pytest.mark.parametrize(("value", "wanted"), CPUS)
def test_cpu_sets(value: Any, wanted: str | None) -> None:
    profile = from_mapping({"cpus": {"serving": value, "housekeeping": value}})
    assert (profile.serving and str(profile.serving)) == wanted
    assert (profile.housekeeping and str(profile.housekeeping)) == wanted


EXPIRES = ["2027-01-31", date(2027, 1, 31), datetime(2027, 1, 31, 12)]


@pytest.mark.parametrize("expires", EXPIRES)
def test_waiver_ends_on_a_day_however_yaml_reads_it(expires: Any) -> None:
    profile = from_mapping({"waivers": [{**WAIVER, "expires": expires}]})
    assert date.fromisoformat(profile.waivers[0].expires) == date(2027, 1, 31)


REFUSED: dict[str, tuple[Any, str]] = {
    "a list": ([], "the profile: a mapping is wanted, not list"),
    "nothing": (None, "the profile: a mapping is wanted, not NoneType"),
    "unknown key": (
        {"setting": {}},
        "the profile: unknown key 'setting' (did you mean settings?); known are name",
    ),
    "unknown key of cpus": ({"cpus": {"isolated": "1"}}, "cpus: unknown key 'isolated'"),
    "unknown setting": ({"settings": {"numa": {}}}, "settings: unknown key 'numa'; known are numa_balancing"),
    "unknown option": (
        {"settings": {"cpu_idle": {"cap": 1}}},
        "settings.cpu_idle: unknown key 'cap'; known are severity",
    ),
    "unknown base": ({"extends": "x"}, "no profile named 'x'"),
    "name of no text": ({"name": 3}, "name: a name is wanted, not 3"),
    "extends nothing": ({"extends": None}, "extends: a name is wanted, not None"),
    "cpus a text": ({"cpus": "2-3"}, "cpus: a mapping is wanted, not str"),
    "cpus an empty list": ({"cpus": []}, "cpus: a mapping is wanted, not list"),
    "settings a list": ({"settings": ["cpu_idle"]}, "settings: a mapping is wanted, not list"),
    "settings false": ({"settings": False}, "settings: a mapping is wanted, not bool"),
    "setting a text": ({"settings": {"cpu_idle": "off"}}, "settings.cpu_idle: a mapping is wanted, not str"),
    "no list of CPUs": ({"cpus": {"serving": "2-x"}}, "cpus.serving: not a CPU list"),
    "true is no CPU": ({"cpus": {"serving": True}}, "cpus.serving: a CPU list such as"),
    "true in a list": ({"cpus": {"serving": [1, True]}}, "cpus.serving: not a CPU list"),
    "no cores": ({"cpus": {"housekeeping_cores_per_node": 0}}, "a whole number from 1 is wanted"),
    "cores true": ({"cpus": {"housekeeping_cores_per_node": True}}, "a whole number from 1 is wanted"),
    "cores a text": ({"cpus": {"housekeeping_cores_per_node": "1"}}, "a whole number from 1 is wanted"),
    "severity": (
        {"settings": {"cpu_idle": {"severity": "high"}}},
        "one of critical, warning, info is wanted, not 'high'",
    ),
    "severity a list": ({"settings": {"cpu_idle": {"severity": ["info"]}}}, "one of critical, warning, info"),
    "number as text": ({"settings": {"cpu_idle": {"max_exit_latency_us": "2"}}}, "int is wanted, not '2'"),
    "number as truth": ({"settings": {"cpu_idle": {"max_exit_latency_us": True}}}, "int is wanted, not True"),
    "number below 0": ({"settings": {"cpu_idle": {"max_exit_latency_us": -1}}}, "a number from 0 is wanted, not -1"),
    "text as number": ({"settings": {"cpu_governor": {"expected": 1}}}, "str is wanted, not 1"),
    "no such governor": (
        {"settings": {"cpu_governor": {"expected": "fast"}}},
        "settings.cpu_governor.expected: one of performance, powersave, userspace, ondemand, conservative, schedutil",
    ),
    "a governor's name mistyped": (
        {"settings": {"cpu_governor": {"expected": "performence"}}},
        "is wanted, not 'performence' (did you mean performance?)",
    ),
    "no such mode": ({"settings": {"core_isolation": {"mode": "all"}}}, "one of none, partition, kernel is wanted"),
    "waivers a mapping": ({"waivers": {"cpu_idle": WAIVER}}, "waivers: a list is wanted"),
    "waivers an empty text": ({"waivers": ""}, "waivers: a list is wanted"),
    "waiver a text": ({"waivers": ["cpu_idle"]}, "waivers, number 1: a mapping is wanted, not str"),
    "waiver for nothing": ({"waivers": [{**WAIVER, "setting": "x"}]}, "waivers, number 1: no setting named 'x'"),
    "second waiver": ({"waivers": [WAIVER, {**WAIVER, "until": 1}]}, "waivers, number 2: unknown key 'until'"),
    "no day": ({"waivers": [{**WAIVER, "expires": "soon"}]}, "expires must be a day such as 2027-01-31, not 'soon'"),
    "no such day": ({"waivers": [{**WAIVER, "expires": "2027-02-30"}]}, "expires must be a day"),
}


@pytest.mark.parametrize(("mapping", "message"), REFUSED.values(), ids=REFUSED)
def test_what_a_profile_may_not_say(mapping: Any, message: str) -> None:
    with pytest.raises(InputError) as refused:
        from_mapping(mapping)
    assert message in str(refused.value)


@pytest.mark.parametrize("key", WAIVER)
def test_waiver_needs_every_key(key: str) -> None:
    with pytest.raises(InputError, match=f"{key} is missing"):
        from_mapping({"waivers": [{**WAIVER, key: ""}]})


@pytest.mark.parametrize("value", ["²", "9" * 5000, "1_0", "-1"])
def test_a_number_of_an_inventory_that_is_none_is_that_variables_error(value: str) -> None:
    with pytest.raises(InputError, match="tune_cpu_idle_max_exit_latency_us"):
        inventory.wanted({"tune_cpu_idle_max_exit_latency_us": value})
