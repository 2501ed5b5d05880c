"""The tables of what surrounded a run: the machine, the settings, the engine, and what else went on meanwhile."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from ...bench import counted
from .readable import count, inside, items, number, percent, plain
from .source import Source
from .words import cost_of_reading, kind_of, tasks

Rows = list[tuple[str, ...]]

_TIERS = {"B": "B (/proc of the process and its threads)", "C": "C (B and /proc/vmstat)", "D": "D (C and /proc/stat)"}

# What the environment's table says in words of its own.
_WORDED = frozenset(
    "machine cpu_model arch kernel boot_id topology numa_balancing governor idle_latency_cap_us transparent_hugepage"
    " clock_source load_average command model batch precision memory_policy memory engine numpy python threads pinning"
    " scope instances counter_tier cpu_flags injection".split()
)
# Place in the result's "run" -> the words of the counter whose growth stands there; a time has words of its own.
_FILES = (counted.INTERRUPTS, counted.THROTTLE, counted.QUOTA, counted.IDLE, counted.FREQUENCY)
_COUNTED = {one.total[0]: one.words for file in _FILES for one in counted.ALL if one.file == file and not one.is_time}
_HOST_WORDED = frozenset(
    "counters steal_share cpu_jiffies vmstat interrupts_by_name frequency_khz disk_io dmesg foreign_load".split()
).union(_COUNTED)


def environment(source: Source) -> Rows:
    """(what, value) of everything that the file says of its surroundings."""
    env, result = source.run.environment, source.result
    engine, memory = env.get("engine"), env.get("memory")
    rows: Rows = [
        ("processor", plain(env.get("cpu_model"))),
        ("architecture", _with(env.get("arch"), "instruction sets", _join(env.get("cpu_flags")))),
        ("kernel", plain(env.get("kernel"))),
        ("machine, boot", f"{plain(env.get('machine'), 60)}, {plain(env.get('boot_id'), 60)}"),
        *_topology(env.get("topology")),
        *_watch(source),
        ("threads", plain(env.get("threads"))),
        ("scope, instances", f"{plain(env.get('scope'))}, {_instances(env.get('instances'))}"),
        ("pinning", _pinning(env.get("pinning"))),
        ("model", _model(env.get("model"))),
        ("precision, batch", f"{plain(env.get('precision'))}, {plain(env.get('batch'))}"),
        ("engine", f"{plain(inside(engine, 'name'))} {plain(inside(engine, 'version'))}"),
        ("engine's options", _pairs(inside(engine, "options"))),
        ("locked versions", _pairs(inside(engine, "locked"))),
        ("Python, numpy", f"{plain(env.get('python'))}, {plain(env.get('numpy'))}"),
        ("kernel.numa_balancing", plain(env.get("numa_balancing"))),
        ("memory policy", _policy(env.get("memory_policy"), memory)),
        ("huge pages", plain(env.get("transparent_hugepage"))),
        ("governor", plain(env.get("governor"))),
        ("idle-latency cap", _with(env.get("idle_latency_cap_us"), "", "µs")),
        ("clock source", plain(env.get("clock_source"))),
        ("load average at the start", ", ".join(f"{number(one) or 0:.2f}" for one in items(env.get("load_average")))),
        ("counters", _TIERS.get(str(env.get("counter_tier")), plain(env.get("counter_tier")))),
        ("cost of reading them", _reading(result)),
        ("injected", _pairs(env.get("injection")) if env.get("injection") else "no"),
        ("started, finished", f"{plain(result.get('started'), 40)}, {plain(result.get('finished'), 40)}"),
        ("numatune", plain(result.get("program_version"), 40)),
    ]
    rows += [(name.replace("_", " "), plain(value)) for name, value in env.items() if name not in _WORDED]
    return [(plain(what, 80), value) for what, value in rows if value.replace(plain(None), "").strip(", ")]


def host(source: Source) -> Rows:
    """(what, value) of what grew on the host over the whole run."""
    run = source.run.host
    disk, frequency = run.get("disk_io"), run.get("frequency_khz")
    read, written = number(inside(disk, "read_bytes")), number(inside(disk, "written_bytes"))
    moved = f"{(read or 0) / 1e6:,.1f} MB read, {(written or 0) / 1e6:,.1f} MB written"
    steal = number(run.get("steal_share"))
    rows: Rows = [
        ("steal", plain(None) if steal is None else percent(steal) + " of the serving CPUs' time"),
        ("time of the serving CPUs, ticks", _pairs(run.get("cpu_jiffies"))),
        *((words, _count(run.get(place))) for place, words in _COUNTED.items()),
        ("frequency, lowest to highest seen", _frequency(frequency)),
        ("disk", plain(None) if read is None or written is None else moved),
        ("counted by the kernel, whole host", _pairs(run.get("vmstat"))),
    ]
    rows += [_named(name, value) for name, value in run.items() if name not in _HOST_WORDED]
    return [(plain(what, 80), value) for what, value in rows]


def interrupts(source: Source) -> Rows:
    """(interrupt, CPUs, how many) on the serving CPUs, most first."""
    listed = [one for one in items(source.run.host.get("interrupts_by_name")) if isinstance(one, Mapping)]
    return [
        (plain(one.get("name"), 80), plain(one.get("cpus"), 80), f"{number(one.get('count')) or 0:,.0f}")
        for one in listed
    ]


def foreign(source: Source) -> Rows:
    """(task, pid, ms on a CPU, CPUs allowed) of other tasks that ran on the serving CPUs."""
    return [*tasks(source.run.host.get("foreign_load"))]


def kernel_lines(source: Source) -> tuple[list[str], str]:
    """(lines of the kernel's log, why they could not be read)."""
    log = source.run.host.get("dmesg")
    why = inside(log, "unavailable")
    return [plain(line) for line in items(inside(log, "lines"))], plain(why) if why else ""


def command(source: Source) -> str:
    """The command line that recorded the run, quoted for a shell."""
    given = source.run.environment.get("command") or source.result.get("command")
    return shlex.join(plain(word) for word in items(given)) if items(given) else plain(given)


def _named(name: str, value: Any) -> tuple[str, str]:
    """A row for what has no words of its own."""
    amount = number(value)
    if amount is not None and name.endswith("_ns"):
        return name[:-3].replace("_", " ") + ", time", f"{amount / 1e6:,.1f} ms"
    if name == "foreign_load_whole":
        return "other tasks", "all of them were seen" if value is True else "some could not be seen"
    return name.replace("_", " "), plain(value)


def _count(value: Any) -> str:
    amount = number(value)
    return plain(value) if amount is None else f"{amount:,.0f}"


def _watch(source: Source) -> Rows:
    """What was watched, how closely, and what that cost."""
    watched = source.watched
    if watched is None:
        return []
    target, watching, log = watched.target, watched.watching, watched.log
    share, sample = number(watching.get("share")), number(inside(watching, "sample_ns", "p50"))
    processes = [
        f"{plain(inside(one, 'comm'), 40)} ({plain(inside(one, 'pid'), 20)})" for one in items(target.get("processes"))
    ]
    cost = plain(None) if share is None else f"{share:.2%} of one CPU"
    cost += "" if sample is None else f", {sample / 1e6:.2f} ms a sample"
    windows = f"{watched.starts.size:,} in {watched.seconds:,.1f} s"
    aside = "beside the target's CPUs" if watching.get("stepped_aside") else "on the target's own CPUs"
    return [
        ("watched", f"{kind_of(target)} {plain(target.get('name'), 80)}, {', '.join(processes[:20])}"),
        ("its CPUs", plain(target.get("cpus"), 80) + (" (pinned)" if target.get("pinned") else " (not pinned)")),
        ("windows", f"{windows}, asked for every {plain(watched.data.get('interval_s'), 20)} s"),
        ("cost of watching", f"{cost}, on CPU {plain(watching.get('cpus'), 80)}, {aside}"),
        ("latency log", _pairs(log) if log else "none"),
        ("ended", plain(watched.data.get("ended"), 40)),
    ]


def _topology(value: Any) -> Rows:
    if not isinstance(value, Mapping):
        return []
    siblings = inside(value, "thread_siblings")
    shared = isinstance(siblings, Mapping) and any("," in str(one) or "-" in str(one) for one in siblings.values())
    packages = inside(value, "packages")
    sockets = len({str(one) for one in packages.values()}) if isinstance(packages, Mapping) else 0
    parts = [f"CPUs {plain(value.get('online'), 80)}", f"serving {plain(value.get('serving'), 80)}"]
    parts.append(count(len(items(value.get("nodes"))), "NUMA node"))
    parts += [count(sockets, "socket")] if sockets else []
    parts.append("cores of more than one thread" if shared else "one thread a core")
    return [("topology", ", ".join(parts))]


def _pinning(value: Any) -> str:
    threads = [one for one in items(inside(value, "verified")) if isinstance(one, Mapping)]
    where = [f"{plain(one.get('role'), 40)} {plain(one.get('allowed'), 60)}" for one in threads]
    said = {True: "as wanted, read back from the kernel", False: "NOT as wanted"}.get(
        inside(value, "ok"), "not verified"
    )
    return said + (f": {'; '.join(where[:70])}" if where else "")


def _instances(value: Any) -> str:
    kind, of = inside(value, "kind"), number(inside(value, "of"))
    return plain(kind) + (f" ({plain(inside(value, 'index'))} of {of:.0f})" if of and of > 1 else "")


def _model(value: Any) -> str:
    if not isinstance(value, Mapping):
        return plain(value)
    hashes = [
        f"{word} {plain(value.get(f'{word}_sha256'), 80)}"
        for word in ("graph", "weights")
        if value.get(f"{word}_sha256")
    ]
    return ", ".join([f"{plain(value.get('name'), 80)}, size {plain(value.get('size'), 20)}", *hashes])


def _policy(name: Any, memory: Any) -> str:
    hides = ", which hides NUMA balancing" if inside(memory, "hides") else ""
    read = inside(memory, "read_back")
    return plain(name, 60) + (f" (read back: {plain(read, 60)})" if read is not None else "") + hides


def _reading(result: Mapping[str, Any]) -> str:
    p50, p90 = (number(inside(result, "counter_cost_ns", name)) for name in ("p50", "p90"))
    parts = (
        [] if p50 is None else [f"{p50 / 1e3:.0f} µs between iterations" + (f" (p90 {p90 / 1e3:.0f})" if p90 else "")]
    )
    return "; ".join([*parts, *cost_of_reading(result)])


def _frequency(value: Any) -> str:
    ends = [
        (number(pair[0]), number(pair[1]))
        for pair in (value.values() if isinstance(value, Mapping) else ())
        if len(items(pair)) == 2
    ]
    lows, highs = [low for low, _high in ends if low], [high for _low, high in ends if high]
    return f"{min(lows) / 1e6:.2f} to {max(highs) / 1e6:.2f} GHz" if lows and highs else plain(None)


def _pairs(value: Any) -> str:
    if not isinstance(value, Mapping):
        return plain(value)
    return ", ".join(
        f"{plain(key, 60)} {_count(one) if type(one) is int else plain(one, 60)}" for key, one in value.items()
    ) or plain(None)


def _join(value: Any) -> str:
    return ", ".join(plain(one, 40) for one in items(value))


def _with(value: Any, word: str, more: str) -> str:
    if value is None or not more:
        return plain(value)
    return f"{plain(value)}, {word}: {more}" if word else f"{plain(value)} {more}"
