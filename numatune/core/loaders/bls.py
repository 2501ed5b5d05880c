"""GRUB with Boot Loader Specification entries, as RHEL 8 to 10 and Fedora have it: one file per kernel.

The entries are edited as text, each whole, and put back byte for byte. grubby would do as much, but it flattens
RHEL 8's $kernelopts, and what it will write cannot be known, shown or journaled before it writes. Beside the entries
stands what a later kernel's entry is made from: /etc/kernel/cmdline, kernelopts in GRUB's environment block (RHEL 8),
GRUB_CMDLINE_LINUX in /etc/default/grub. The rescue entry stays stock.

/etc/kernel/cmdline is made where there is none (Fedora), and stays when the arguments are permanent and running, and
without them when none is wanted any more: nothing in it could say that it is numatune's, for kernel-install reads every
word, and a kernel that is installed in a trial boot must not get what is the trial's alone. A revert removes it.

Not run on the real distributions yet: held by trees that are made like theirs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from ..change import Change, Conflict
from ..model import Line, Snapshot
from ..ours import HEADER
from ..parsers import cmdline, shell
from ..text import lines as lines_of
from . import loader, records
from .arguments import edited, join, merged
from .next_boot import next_boot

FOLDER = "/boot/loader/entries"
CMDLINE = "/etc/kernel/cmdline"
DEFAULTS = "/etc/default/grub"
_OPTIONS = re.compile(r"^(options[ \t]+)(.*)$", re.M)
_KERNELOPTS = re.compile(r"\$(?:kernelopts\b|\{kernelopts\})")
_ASSIGNED = re.compile(r"^(\s*GRUB_CMDLINE_LINUX(_DEFAULT)?=)(.*)$", re.M)
_WHY = "holds the arguments at every boot"


class BlsGrub:
    """GRUB 2 that reads /boot/loader/entries."""

    name = "GRUB with BLS entries"
    # Of all names that entries have, GRUB sorts this one last: without a saved default it takes the first.
    trial_id = "A-numatune-trial"
    trial_path = f"{FOLDER}/A-numatune-trial.conf"
    trial_entry = trial_path

    def __init__(self, snapshot: Snapshot, folder: str) -> None:
        self._snapshot = snapshot
        self._folder = folder
        self.environment = f"{folder}/grubenv"
        self._kernelopts = loader.variable(snapshot, self.environment, "kernelopts")

    def permanent(self, wanted: Mapping[str, str]) -> tuple[Change, ...]:
        """Return the changes of every entry but the rescue one, and of what later entries are made from."""
        drop = self._dropped(wanted)
        found: list[Change] = []
        for path in self._entries():
            text = self._snapshot.read(path).text
            if "-0-rescue" in path:
                new = self._rescue(text, drop) if wanted else text
            else:
                new = _with_options(text, wanted, drop)
            found += loader.file_change(self._snapshot, path, new, _WHY, None)
        found += self._command_line(wanted, drop)
        found += self._defaults(wanted, drop)
        found += self._kernel_options(wanted, drop)
        # The trial's entry goes last: while it stands, the rest is looked at.
        return records.noted(self._snapshot, wanted, (*found, *self.without_trial()))

    def trial(self, wanted: Mapping[str, str], boot_id: str) -> tuple[Change, ...]:
        """Return the one-time entry: a copy of the default one, which sorts last."""
        where = next_boot(self._snapshot, once=False).where
        lines = lines_of(self._snapshot.read(where.path).text) if where else []
        once = {**wanted, **loader.TRIAL_PANIC}
        drop = self._dropped(wanted)
        found = [f"{HEADER}{records.trial_mark(boot_id, wanted)}", "title numatune: one trial boot", "version 0"]
        for line in lines:
            match = _OPTIONS.match(line)
            if match:
                line = match[1] + merged(_KERNELOPTS.sub(lambda _: self._kernelopts or "", match[2]), once, drop)
                # The argument stands once, however many lines of options there are.
                once = {}
            if (line.split(None, 1) or [""])[0] not in ("title", "version", "id", "sort-key"):
                found.append(line)
        text = "\n".join(found) + "\n"
        return tuple(loader.file_change(self._snapshot, self.trial_path, text, "a copy of the default, tried once"))

    def without_trial(self) -> tuple[Change, ...]:
        """Return the removal of that entry."""
        return tuple(loader.file_change(self._snapshot, self.trial_path, None, "no trial is left"))

    def conflicts(self, wanted: Mapping[str, str]) -> tuple[Conflict, ...]:
        """Return foreign files of these names, and what keeps the arguments from being written so that they hold."""
        own = (loader.OWNED, loader.HELD, self.trial_path)
        found = [conflict for path in own for conflict in loader.foreign(self._snapshot, path)]
        found += loader.tuned(self._snapshot, self._folder, wanted)
        variables = [("next_entry", self.trial_id), (records.MARK, "_" * 17)]
        if self._kernelopts is not None:
            variables.append(("kernelopts", merged(self._kernelopts, wanted, self._dropped(wanted))))
        found += loader.too_full(self._snapshot, self.environment, variables)
        return (*found, *self._unwritable(wanted))

    def no_trial(self) -> str:
        """Return why an entry cannot be booted once here, "" where it can."""
        config = self._snapshot.read(f"{self._folder}/grub.cfg").text
        default = next_boot(self._snapshot, once=False).where
        if default is None or not default.path.startswith(f"{FOLDER}/"):
            at = f"{default.path} line {default.line}" if default else "not known"
            return f"the default entry ({at}) is none of {FOLDER}, so there is none to copy"
        saved = loader.variable(self._snapshot, self.environment, "saved_entry")
        if saved is None or f"{FOLDER}/{saved}.conf" not in self._entries():
            return f"{self.environment} saves no default entry, so a new one could become it: run grub2-set-default"
        return loader.no_one_time_boot(self._snapshot, self.environment, config)

    def leftovers(self) -> bool:
        """Return whether a note of owned arguments or the trial entry stands."""
        return any(self._snapshot.read(path).present for path in (loader.OWNED, loader.HELD, self.trial_path))

    def _entries(self) -> list[str]:
        paths = (path for path in self._snapshot.below(FOLDER) if path.endswith(".conf") and path != self.trial_path)
        return [path for path in paths if self._snapshot.read(path).present]

    def _dropped(self, wanted: Mapping[str, str]) -> list[str]:
        """Return the arguments that numatune has put in and that are asked for no more."""
        return [word for word in records.owned(self._snapshot) if word not in join(wanted).split()]

    def _unwritable(self, wanted: Mapping[str, str]) -> list[Conflict]:
        """Return the lines that hold arguments in a form that is not edited here."""
        found = []
        for path in self._entries() if wanted and self._kernelopts is None else ():
            for number, line in enumerate(lines_of(self._snapshot.read(path).text), 1):
                if _OPTIONS.match(line) and _KERNELOPTS.search(line):
                    message = f"{path} line {number} uses $kernelopts, which {self.environment} does not hold"
                    what = f"{message}: run grub2-mkconfig, then run again"
                    found.append(loader.conflict(Line(path, number, line), what))
        for number, line in enumerate(lines_of(self._snapshot.read(DEFAULTS).text), 1):
            match = _ASSIGNED.match(line)
            if match and wanted and not shell.PLAIN.fullmatch(match[3].strip()):
                what = f"{DEFAULTS} line {number} is more than one plain text in quotes: make it one, then run again"
                found.append(loader.conflict(Line(DEFAULTS, number, line.strip()), what))
        return found

    def _command_line(self, wanted: Mapping[str, str], drop: list[str]) -> list[Change]:
        """Return the change of what kernel-install gives to a new kernel.

        Without the file it takes the running kernel's command line, which lacks the arguments before the reboot, and
        in a trial boot holds what is the trial's alone; so the file is made. RHEL 8's new entries say $kernelopts.
        """
        reading = self._snapshot.read(CMDLINE)
        why = "a kernel that is installed before the reboot gets them too"
        if reading.present:
            new = edited(reading.text.rstrip("\n"), wanted, drop)
            same = new == reading.text.rstrip("\n")
            return [] if same else loader.file_change(self._snapshot, CMDLINE, new + "\n", why, None)
        why += "; the file stays, and later kernels take their arguments from it instead of from the running kernel"
        default = next_boot(self._snapshot, once=False).where
        entries = (self._snapshot.read(path).text for path in self._entries() if "-0-rescue" not in path)
        if not wanted or default is None or any(map(_KERNELOPTS.search, entries)):
            return []
        words = [word for word in default.text.split() if not word.startswith("$")]
        return loader.file_change(self._snapshot, CMDLINE, merged(" ".join(words), wanted, drop) + "\n", why)

    def _defaults(self, wanted: Mapping[str, str], drop: list[str]) -> list[Change]:
        """Return the change of /etc/default/grub, from which grub2-mkconfig may make the entries anew."""
        text = self._snapshot.read(DEFAULTS).text

        def changed(found: re.Match[str]) -> str:
            value = shell.PLAIN.fullmatch(found[3].strip())
            if not value:
                return found[0]
            sign = "'" if value[2] is not None else '"'
            before = value[1] or value[2] or value[3] or ""
            # The other variable only must not bring a second one of the same key.
            after = _without(before, wanted, drop) if found[2] else edited(before, wanted, drop)
            return found[0] if after == before else f"{found[1]}{sign}{after}{sign}"

        why = "entries that are made anew get them too"
        return loader.file_change(self._snapshot, DEFAULTS, _ASSIGNED.sub(changed, text), why, None) if text else []

    def _kernel_options(self, wanted: Mapping[str, str], drop: list[str]) -> list[Change]:
        if self._kernelopts is None:
            return []
        value = edited(self._kernelopts, wanted, drop)
        if value == self._kernelopts:
            return []
        path = f"{self.environment}:kernelopts"
        return [Change(loader.SETTING, "once", path, value, self._kernelopts, _WHY, needs_reboot=True)]

    def _rescue(self, text: str, drop: list[str]) -> str:
        """Return a rescue entry that no longer follows $kernelopts, so that it stays as it boots now."""
        if self._kernelopts is None:
            return text
        stock = _without(self._kernelopts, {}, [*records.owned(self._snapshot), *drop])
        return _on_options(text, lambda options: _KERNELOPTS.sub(lambda _: stock, options))


def _with_options(text: str, wanted: Mapping[str, str], drop: list[str]) -> str:
    """Return an entry with its options changed; one that takes them from $kernelopts must not repeat a key of them."""
    lines = [found[2] for found in _OPTIONS.finditer(text)]
    if any(map(_KERNELOPTS.search, lines)):
        return _on_options(text, lambda options: _without(options, wanted, drop))
    whole = " ".join(lines)
    if edited(whole, wanted, drop) == whole:
        return text
    # Of several lines of options, the first gets them.
    put = [wanted, *[{}] * len(lines)]
    return _on_options(text, lambda options: merged(_without(options, wanted, drop), put.pop(0)))


def _on_options(text: str, change: Callable[[str], str]) -> str:
    return _OPTIONS.sub(lambda found: found[1] + change(found[2]), text)


def _without(line: str, wanted: Mapping[str, str], drop: list[str]) -> str:
    """Return a command line without any argument of these keys, and without those of `drop`."""
    keys = {key.replace("-", "_") for key in wanted}
    tokens = [token for token in cmdline.tokens(line) if token.partition("=")[0].replace("-", "_") in keys]
    return merged(line, {}, [*tokens, *drop])
