"""Debian's and Ubuntu's GRUB: a drop-in under /etc/default/grub.d, from which grub-mkconfig makes grub.cfg.

The drop-in sorts last and takes the owned tokens out of GRUB_CMDLINE_LINUX_DEFAULT before it adds its own, whatever
cloud images' drop-ins put there. That variable does not reach the recovery entries, which stay stock.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Optional

from ..change import Change, Conflict
from ..model import Line, Snapshot
from ..ours import HEADER
from ..parsers import cmdline, grub, shell
from ..text import lines as lines_of
from . import loader, records
from .arguments import held, join, merged, quoted
from .next_boot import entry_of_grub

CONFIG = "/boot/grub/grub.cfg"
DROP_IN = "/etc/default/grub.d/zz-numatune.cfg"
# The last script: an entry between others would change what a default by number means.
TRIAL_SCRIPT = "/etc/grub.d/zz_numatune"
MAIN = "/etc/default/grub"
FOLDER = "/etc/default/grub.d"
_SECTION = re.compile(r"^### (BEGIN|END) (\S+) ###$")
_KERNEL = re.compile(r"^(\s*linux(?:16|efi)?\s+\S+)(\s*)(.*)$")
_ASSIGNED = re.compile(r"^\s*(?:export\s+)?(GRUB_CMDLINE_LINUX(?:_DEFAULT)?)(\+?=)(.*)$")
# What the script puts behind the variable: the init of entries that name one, Ubuntu's handoff.
_BEHIND = re.compile(r"(?: init=\S+)?(?: \$vt_handoff)?$")
_END = "NUMATUNE_END_OF_ENTRY"
_HEREDOC = re.compile(rf"^cat <<'({_END}_*)'\n(.*?)^\1$", re.M | re.S)
_ADDS = "# arguments: "


class DebianGrub:
    """GRUB as Debian and its descendants configure it."""

    name = "GRUB"
    environment = "/boot/grub/grubenv"
    trial_id = "numatune-trial"
    trial_path = TRIAL_SCRIPT
    trial_entry = CONFIG

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._config = snapshot.read(CONFIG).text

    def permanent(self, wanted: Mapping[str, str]) -> tuple[Change, ...]:
        """Return the drop-in (none for no arguments) and the menu made from it, without the trial's entry."""
        why = "every entry but the recovery ones, at every boot" if wanted else "no argument is asked for any more"
        files = loader.file_change(self._snapshot, DROP_IN, drop_in(wanted) if wanted else None, why)
        files += loader.file_change(self._snapshot, TRIAL_SCRIPT, None, "no trial is left")
        drop = self._dropped(wanted)
        text = predicted(with_trial(self._config, ""), wanted, drop, self._default())
        menu = self._menu(text, bool(files) or self._stale(wanted, drop))
        return records.noted(self._snapshot, wanted, (*files, *menu))

    def trial(self, wanted: Mapping[str, str], boot_id: str) -> tuple[Change, ...]:
        """Return the script that prints the one-time entry, and the menu that holds it."""
        files = []
        if self._ahead():
            # An interrupted run wrote it without its menu, which would now get arguments that never booted.
            files = loader.file_change(self._snapshot, DROP_IN, None, "its arguments have not booted yet")
        script = self._trial_script(wanted, boot_id)
        why = "a copy of the default entry, tried once"
        files += loader.file_change(self._snapshot, TRIAL_SCRIPT, script, why, "0755")
        text = with_trial(self._config, _printed(script))
        return (*files, *self._menu(text, bool(files) or text.split() != self._config.split()))

    def without_trial(self) -> tuple[Change, ...]:
        """Return the removal of that script, and the menu without its entry."""
        files = loader.file_change(self._snapshot, TRIAL_SCRIPT, None, "no trial is left")
        stale = f"### BEGIN {TRIAL_SCRIPT} ###" in self._config
        return (*files, *self._menu(with_trial(self._config, ""), bool(files) or stale))

    def conflicts(self, wanted: Mapping[str, str]) -> tuple[Conflict, ...]:
        """Return foreign files of these names, and lines that would win over the drop-in."""
        own = (DROP_IN, TRIAL_SCRIPT, loader.OWNED, loader.HELD)
        found = [conflict for path in own for conflict in loader.foreign(self._snapshot, path)]
        variables = [("next_entry", self.trial_id), (records.MARK, "_" * 17)]
        found += loader.too_full(self._snapshot, self.environment, variables)
        found += loader.tuned(self._snapshot, CONFIG.rpartition("/")[0], wanted)
        for path in (MAIN, *self._drop_ins()):
            for number, line in enumerate(lines_of(self._snapshot.read(path).text), 1):
                found.extend(_clash(Line(path, number, line.strip()), wanted))
        return tuple(found) or self._hidden(wanted)

    def no_trial(self) -> str:
        """Return why an entry cannot be booted once here, "" where it can."""
        if entry_of_grub(self._snapshot, CONFIG) is None:
            return f"{CONFIG} has no default entry with one kernel line to copy"
        return loader.no_one_time_boot(self._snapshot, self.environment, self._config)

    def leftovers(self) -> bool:
        """Return whether the drop-in, the trial's script, its entry or a note stands."""
        own = (DROP_IN, TRIAL_SCRIPT, loader.OWNED, loader.HELD)
        files = any(self._snapshot.read(path).present for path in own)
        return files or f"### BEGIN {TRIAL_SCRIPT} ###" in self._config

    def _drop_ins(self) -> list[str]:
        return [path for path in self._snapshot.below(FOLDER) if path.endswith(".cfg") and path != DROP_IN]

    def _dropped(self, wanted: Mapping[str, str]) -> list[str]:
        """Return the arguments that numatune has put in and that are asked for no more."""
        return [word for word in (*records.owned(self._snapshot), *self._added()) if word not in join(wanted).split()]

    def _added(self) -> list[str]:
        """Return what the drop-in that stands now adds."""
        match = re.search(rf"^{_ADDS}(.*)$", self._snapshot.read(DROP_IN).text, re.M)
        return match[1].split() if match else []

    def _default(self) -> Optional[Normal]:
        """Return GRUB_CMDLINE_LINUX_DEFAULT without the drop-in and with it; None where it is no plain text."""
        value = ""
        for path in (MAIN, *self._drop_ins()):
            for line in lines_of(self._snapshot.read(path).text):
                match = _ASSIGNED.match(line)
                if not match or match[1] != "GRUB_CMDLINE_LINUX_DEFAULT":
                    continue
                plain = shell.PLAIN.fullmatch(match[3].strip())
                if match[2] != "=" or not plain or path > DROP_IN:
                    return None
                value = plain[1] or plain[2] or plain[3] or ""
        added = [
            dict(word.partition("=")[::2] for word in words)
            for words in (self._added(), records.owned(self._snapshot), ())
        ]
        return Normal(value, tuple(merged(value, words) for words in added))

    def _ahead(self) -> bool:
        """Return whether the drop-in adds what the default entry does not hold."""
        entry = entry_of_grub(self._snapshot, CONFIG)
        tokens = cmdline.tokens(grub.arguments(entry.linux)) if entry and entry.linux else []
        return not set(self._added()) <= set(tokens)

    def _stale(self, wanted: Mapping[str, str], drop: Iterable[str]) -> bool:
        """Return whether an entry lacks an argument, or still holds one that goes."""
        for line in _ours(self._config):
            text = grub.arguments(line)
            if not held(text, wanted) or set(drop) & set(cmdline.tokens(text)):
                return True
        return f"### BEGIN {TRIAL_SCRIPT} ###" in self._config

    def _hidden(self, wanted: Mapping[str, str]) -> tuple[Conflict, ...]:
        """Return the conflict of an argument that the menu shows to come from where the drop-in does not reach."""
        entry = entry_of_grub(self._snapshot, CONFIG)
        at = entry.linux.line if entry and entry.linux else 0
        if wanted and at and at not in [line.line for line in _ours(self._config)]:
            what = f"{CONFIG} line {at}: the default entry is a recovery one, or is not made by /etc/grub.d/10_linux"
            where = Line(CONFIG, at, entry.linux.text if entry and entry.linux else "")
            return (loader.conflict(where, f"{what}: choose another default, or set the arguments there by hand"),)
        for line in _ours(self._config, recovery=True):
            for key in wanted:
                if cmdline.values(line.text, key):
                    what = (
                        f"{CONFIG} line {line.line}: a recovery entry holds {key}, which comes from GRUB_CMDLINE_LINUX"
                    )
                    return (loader.conflict(line, f"{what}: take it out of there, then run again"),)
        for line in _ours(self._config):
            key = quoted(line.text, wanted)
            if key:
                what = f"{CONFIG} line {line.line}: a quoted argument with blanks names {key}"
                return (loader.conflict(line, f"{what}: take it out of {MAIN}, then run again"),)
        return ()

    def _menu(self, text: str, stale: bool) -> tuple[Change, ...]:
        if not stale:
            return ()
        why = "made anew by the system's own tool, checked, and put in place whole"
        return (Change(loader.SETTING, "menu", CONFIG, text, self._config, why, needs_reboot=True),)

    def _trial_script(self, wanted: Mapping[str, str], boot_id: str) -> str:
        entry = entry_of_grub(self._snapshot, CONFIG)
        lines = lines_of(self._config)
        drop = self._dropped(wanted)
        body = []
        # Only an entry with one kernel line is chosen (core.loaders.next_boot), and its end was seen.
        for line in lines[entry.start : entry.end - 1] if entry else []:
            kernel = _KERNEL.match(line)
            if kernel:
                line = kernel[1] + kernel[2] + merged(kernel[3], {**wanted, **loader.TRIAL_PANIC}, drop)
            # An entry that a person picks by hand must not become the default.
            if line.strip() != "savedefault":
                body.append(line)
        classes = " ".join(re.findall(r"--class \S+", lines[entry.start - 1])) if entry else ""
        head = f"menuentry 'numatune: one trial boot' {classes} --unrestricted --id {self.trial_id} {{"
        # The comment goes into the menu too: what was armed is what stands there.
        printed = [records.trial_mark(boot_id, wanted), *self._fallback(entry), " ".join(head.split()), *body, "}"]
        # What the host's menu holds must not end the text that the shell prints.
        end = next(word for word in (_END + "_" * count for count in range(len(printed) + 1)) if word not in printed)
        return "\n".join(["#!/bin/sh", HEADER.rstrip("\n"), f"cat <<'{end}'", *printed, end, ""])

    def _fallback(self, default: Optional[grub.Entry]) -> list[str]:
        """Return what lets GRUB go on with the default entry where the trial's kernel does not load.

        It holds while the trial is what boots next. GRUB takes numbers of the top level alone: of a path such as
        "1>2" it would open the submenu and boot its first entry, which is not the default. So a default in a submenu
        gets none, and GRUB then waits for a key.
        """
        menu = grub.entries(CONFIG, with_trial(self._config, ""))
        number = next((at for at, item in enumerate(menu) if default and item.start == default.start), None)
        if number is None:
            return []
        return [f'if [ "${{default}}" = "{self.trial_id}" ]; then', f"  set fallback={number}", "fi"]


def drop_in(wanted: Mapping[str, str]) -> str:
    """Return the drop-in's text; grub-mkconfig's shell reads it, with "set -e" in force."""
    patterns = []
    for key in wanted:
        # "-" and "_" are one to the kernel.
        sign = re.sub(r"[-_]", "[-_]", key)
        patterns += [sign, f"{sign}=*"]
    return (
        f"{HEADER}# Takes these arguments out of what the files before it set, and adds them once:\n"
        f"{_ADDS}{join(wanted)}\n"
        "set -f\n"
        "numatune_kept= numatune_init=\n"
        "for numatune_token in $GRUB_CMDLINE_LINUX_DEFAULT; do\n"
        '  if [ -n "$numatune_init" ] || [ "$numatune_token" = -- ]; then\n'
        "    # What follows is for init.\n"
        '    numatune_init="$numatune_init $numatune_token"\n'
        "    continue\n"
        "  fi\n"
        "  case $numatune_token in\n"
        f"    {' | '.join(patterns)}) ;;\n"
        '    *) numatune_kept="${numatune_kept:+$numatune_kept }$numatune_token" ;;\n'
        "  esac\n"
        "done\n"
        "set +f\n"
        f'GRUB_CMDLINE_LINUX_DEFAULT="${{numatune_kept:+$numatune_kept }}{join(wanted)}$numatune_init"\n'
        "unset numatune_kept numatune_init numatune_token\n"
    )


class Normal(NamedTuple):
    """GRUB_CMDLINE_LINUX_DEFAULT as the files before the drop-in set it, and as the menu may have it now."""

    stock: str
    now: tuple[str, ...]


def predicted(config: str, wanted: Mapping[str, str], drop: Iterable[str] = (), normal: Optional[Normal] = None) -> str:
    """Return grub.cfg as it will be: the kernel lines of Debian's own section, the recovery ones left as they are.

    A line with the variable as it is now at its end gets it as it will be; of another, the arguments of `drop` go. A
    prediction: the real text is made by grub-mkconfig, which may find other kernels too.
    """
    lines, ours = lines_of(config), {line.line for line in _ours(config)}
    for number in ours:
        kernel = _KERNEL.match(lines[number - 1])
        if not kernel:
            continue
        text = kernel[3]
        found = next(filter(None, (_found(text, now) for now in normal.now)), None) if normal else None
        if normal and found:
            text = text[: found.start(1)] + merged(normal.stock, wanted) + text[found.end(1) :]
        else:
            end = _BEHIND.search(text)
            at = end.start() if end else len(text)
            text = merged(text[:at], wanted, drop) + text[at:]
        lines[number - 1] = kernel[1] + kernel[2] + text
    return "\n".join(lines) + "\n" if lines else ""


def _found(text: str, value: str) -> Optional[re.Match[str]]:
    return re.search(rf"(?:^|(?<= ))({re.escape(value)}){_BEHIND.pattern}", text)


def with_trial(config: str, entry: str) -> str:
    """Return grub.cfg with the trial's section replaced, or taken out for no entry."""
    begin, end = f"### BEGIN {TRIAL_SCRIPT} ###\n", f"### END {TRIAL_SCRIPT} ###\n"
    head, _, rest = config.partition(begin)
    if rest:
        # An empty line stands before every section.
        head, rest = head.removesuffix("\n"), rest.partition(end)[2]
    return head + (f"\n{begin}{entry}{end}" if entry else "") + rest


def _ours(config: str, recovery: bool = False) -> list[Line]:
    """Return the kernel lines of Debian's own section: the recovery entries' or all others'."""
    section, rescue, found = "", False, []
    for number, line in enumerate(lines_of(config), 1):
        mark = _SECTION.match(line)
        if mark:
            section = mark[2] if mark[1] == "BEGIN" else ""
        if line.lstrip().startswith(("menuentry ", "submenu ")):
            # The title may be translated; the id is not.
            rescue = "recovery" in line
        if section.endswith("/10_linux") and rescue is recovery and _KERNEL.match(line):
            found.append(Line(CONFIG, number, line.strip()))
    return found


def _printed(script: str) -> str:
    found = _HEREDOC.search(script)
    return found[2] if found else ""


def _clash(where: Line, wanted: Mapping[str, str]) -> list[Conflict]:
    match = _ASSIGNED.match(where.text)
    if not match:
        return []
    name, sign, value = match.groups()
    words = value.strip().strip("'\"")
    keys = [key for key in wanted if cmdline.values(words, key)]
    after = where.path.startswith(FOLDER) and where.path > DROP_IN
    at = f"{where.path} line {where.line}"
    if name == "GRUB_CMDLINE_LINUX" and keys:
        # It reaches the recovery entries too, which stay as they are, and it comes first.
        message = (
            f"{at} sets {keys[0]} for the recovery entries too: take {keys[0]} out of {name} there, then run again"
        )
        return [loader.conflict(where, message)]
    if name == "GRUB_CMDLINE_LINUX" and wanted and "--" in words.split():
        message = f"{at} gives all arguments behind it to init by --: take that out of {name}, then run again"
        return [loader.conflict(where, message)]
    # One that adds to what is there leaves the drop-in's in force.
    adds = sign == "+=" or re.search(r"\$\{?GRUB_CMDLINE_LINUX_DEFAULT\b", words)
    if name == "GRUB_CMDLINE_LINUX_DEFAULT" and after and (keys or not adds):
        message = f"{at} is read after {DROP_IN} and would win: rename it so that it sorts before, then run again"
        return [loader.conflict(where, message)]
    return []
