"""A copy of the system's ssh_config that means the same where it is read in the place of a user's.

In a file of `-F` a relative Include means ~/.ssh; in the system's it means /etc/ssh, also in what that includes. So
each included file is copied too, and named by its copy.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..failure import Failure, clean
from ..ssh_config import SshConfigError, words
from ..ssh_config.files import MOST_NESTED, text_of

FOLDER = "/etc/ssh"


@dataclass
class Copies:
    """Copies of what one file includes, made in `folder`, whose path needs no quotes."""

    folder: Path
    made: int = 0

    def of(self, path: str) -> bytes:
        """Return the text of a file with its Includes turned to copies, b"" where there is no such file.

        Raises Failure("exec") where ssh would refuse the file or one of those that it includes.
        """
        try:
            return self._text(path, 0) or b""
        except (SshConfigError, ValueError) as error:
            raise Failure("exec", f"ssh's configuration cannot be used: {clean(error, 200)}") from None

    def _text(self, path: str, depth: int) -> bytes | None:
        if depth > MOST_NESTED:
            raise ValueError(f"{path}: Include is nested more than {MOST_NESTED} times")
        # ssh checks who may write to a file that is included, and not of the system's own.
        text = text_of(path, guarded=depth > 0)
        if text is None:
            return None
        lines = []
        for number, line in enumerate(text.split("\n"), 1):
            word, rest = words.keyword(line)
            lines.append(self._included(rest, f"{path}:{number}", depth) if word == "include" else line)
        return os.fsencode("\n".join(lines))

    def _included(self, rest: str, where: str, depth: int) -> str:
        copies = list(self._copies(rest, where, depth))
        return f"Include {' '.join(copies)}" if copies else ""

    def _copies(self, rest: str, where: str, depth: int) -> Iterator[str]:
        for given in words.split(rest):
            if given.startswith("~") or "${" in given or "%" in given:
                raise ValueError(f"{where}: Include {given[:80]}: only a path can be included by the system's file")
            for each in sorted(glob.glob(given if given.startswith("/") else f"{FOLDER}/{given}")):
                text = self._text(each, depth + 1)
                if text is None:
                    continue
                self.made += 1
                copy = self.folder / f"include-{self.made}"
                descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(text)
                yield os.fspath(copy)
