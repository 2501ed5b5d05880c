"""CPU lists and masks as kernels, administrators and hostile files write them."""

from __future__ import annotations

import pytest

from numatune.core.cpuset import EMPTY, CpuSet, parse_list, parse_mask
from numatune.core.errors import InputError

LISTS = [
    ("", ""),
    ("\n", ""),
    ("(null)\n", ""),
    ("\0", ""),
    ("0", "0"),
    ("0-3,8\n", "0-3,8"),
    ("3,2,1,0", "0-3"),
    ("0-3,2-5", "0-5"),
    (" 1 , 3 ", "1,3"),
    ("1,,3", "1,3"),
    ("0,1,2,4", "0-2,4"),
    ("0-7:1/2", "0,2,4,6"),
    ("0-9:2/4", "0-1,4-5,8-9"),
    ("0-31:2/16", "0-1,16-17"),
    ("6-7,10-11,14-15\n", "6-7,10-11,14-15"),
    ("65535", "65535"),
]
NOT_LISTS = [
    "a",
    "1-",
    "-1",
    "3-1",
    "65536",
    "0-99999999999",
    "1;2",
    "0-3:0/2",
    "0-3:3/2",
    "0-3:1",
    "1-2-3",
    "9" * 5000,
]
MASKS = [
    ("0", ""),
    ("ff\n", "0-7"),
    ("0xf0", "4-7"),
    ("1,00000000", "32"),
    ("00000000,00000003", "0-1"),
    ("ffffffff,ffffffff", "0-63"),
    ("ffffffffffffffff", "0-63"),
    ("80000000,00000000,00000001", "0,95"),
]
NOT_MASKS = ["", "g", "1,", "000000001,0", "-1", "+1", "1_0", "ff ff", "1,-1", "f" * 20000]


@pytest.mark.parametrize(("text", "wanted"), LISTS)
def test_list_is_read_and_written_as_the_kernel_does(text: str, wanted: str) -> None:
    assert str(parse_list(text)) == wanted
    assert parse_list(wanted) == parse_list(text)


@pytest.mark.parametrize("text", NOT_LISTS)
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not a CPU list"):
        parse_list(text)


@pytest.mark.parametrize(("text", "wanted"), MASKS)
def test_mask_is_read(text: str, wanted: str) -> None:
    assert str(parse_mask(text)) == wanted


@pytest.mark.parametrize("text", NOT_MASKS)
def test_what_is_no_mask_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not a CPU mask"):
        parse_mask(text)


def test_algebra() -> None:
    low, even = parse_list("0-3"), parse_list("0-6:1/2")
    assert (str(low | even), str(low & even), str(low - even)) == ("0-4,6", "0,2", "1,3")
    assert parse_list("1-2") <= low
    assert not even <= low
    assert (len(even), list(even), even.first()) == (4, [0, 2, 4, 6], 0)
    assert (2 in low, 4 in low, -1 in low) == (True, False, False)
    assert (bool(low), bool(EMPTY)) == (True, False)


def test_sets_are_values() -> None:
    assert CpuSet.of([1, 2, 1]) == parse_list("1-2")
    assert hash(CpuSet.of([5])) == hash(parse_list("5"))
    assert CpuSet(1) != 1
    with pytest.raises(AttributeError):
        CpuSet(1).bits = 2
