"""ssh's own options in words, as `ansible_ssh_common_args` holds them: what they set, and what goes on to ssh."""

from __future__ import annotations

import re
import shlex
from functools import lru_cache
from typing import NamedTuple

from ..transport.ssh_config.options import Option, options

# The options that ssh_config has a keyword for.
_KEYWORD = {
    "B": "bindinterface",
    "b": "bindaddress",
    "c": "ciphers",
    "I": "pkcs11provider",
    "i": "identityfile",
    "J": "proxyjump",
    "l": "user",
    "m": "macs",
    "p": "port",
}
_FLAG = {
    "C": ("compression", "yes"),
    "4": ("addressfamily", "inet"),
    "6": ("addressfamily", "inet6"),
    "K": ("gssapiauthentication", "yes"),
}
_OFF = ("no", "off", "false")


class SshWords(NamedTuple):
    """What the words say.

    settings: (lower-case keyword of ssh_config, value) in the words' order; of one keyword the first counts, but every
    identityfile. config: the file of `-F`. words: what may go on to the ssh binary, which is everything but switching
    the check of host keys off; unchecked: they would have switched it off. odd: a line on words that are not options.
    """

    settings: tuple[tuple[str, str], ...] = ()
    config: str | None = None
    words: tuple[str, ...] = ()
    unchecked: bool = False
    odd: str | None = None


@lru_cache(maxsize=4096)
def parse(text: str) -> SshWords:
    """Return what a string of ssh's options says; it is split as a shell would, which is how Ansible splits it."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        return SshWords(odd=f"its quotes do not match ({error})")
    settings: list[tuple[str, str]] = []
    kept: list[str] = []
    config, unchecked, odd = None, False, None
    for option in options(words):
        if not option.letter or option.lacks_value:
            # Not quoted: of words that were meant otherwise (`sshpass -p`) it may be a password.
            odd = "a word that is not an option of ssh"
            continue
        if option.letter == "F":
            config = config or option.value
        setting = _setting(option)
        if setting is not None:
            if setting[0] == "stricthostkeychecking" and setting[1].lower() in _OFF:
                unchecked = True
                continue
            settings.append(setting)
        kept.extend(option.words)
    if unchecked:
        # Together they mean "never check"; alone the second would mean "trust no host".
        settings = [setting for setting in settings if not _discards_keys(setting)]
        kept = _without_discarding(kept)
    return SshWords(tuple(settings), config, tuple(kept), unchecked, odd)


def _setting(option: Option) -> tuple[str, str] | None:
    value = option.value or ""
    if option.letter == "o":
        # ssh_config's own spellings: Key=Value, Key = Value, Key Value, the value perhaps in double quotes.
        found = re.fullmatch(r"\s*(\w+)\s*(?:=|\s)(.*)", value, re.DOTALL)
        if not found:
            return None
        keyword, text = found[1], found[2].strip()
        return keyword.lower(), text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
    if option.letter in _KEYWORD:
        return _KEYWORD[option.letter], value
    return _FLAG.get(option.letter)


def _discards_keys(setting: tuple[str, str]) -> bool:
    return setting == ("userknownhostsfile", "/dev/null")


def _without_discarding(words: list[str]) -> list[str]:
    kept: list[str] = []
    for option in options(words):
        setting = _setting(option)
        if setting is None or not _discards_keys(setting):
            kept.extend(option.words)
    return kept
