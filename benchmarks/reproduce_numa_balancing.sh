#!/bin/sh
# A real reproduction of the jitter of NUMA balancing: the benchmark with kernel.numa_balancing 0, 1, 0 and 1
# in turns, the cause of the spikes in each run, and the comparison of both sides.
#
#   benchmarks/reproduce_numa_balancing.sh --yes-change-this-host [--iterations N] [--folder DIR] [BENCH ARGUMENTS…]
#
# It changes a setting of the whole host while it runs, so it asks for that flag and for root, and a trap puts the value
# back however it ends (an error, Ctrl-C, a closed terminal, kill). Only kill -9 and a power cut cannot be trapped: the
# value that was there is printed first. The setting does not survive a reboot anyway.
set -eu

knob=/proc/sys/kernel/numa_balancing
root=$(cd "$(dirname "$0")/.." && pwd -P)
python=${PYTHON:-$root/.venv/bin/python}
iterations=300
folder=
agreed=no

die() {
    printf 'reproduce: %s\n' "$*" >&2
    exit 2
}

while [ $# -gt 0 ]; do
    case $1 in
        --yes-change-this-host) agreed=yes ;;
        --iterations) [ $# -ge 2 ] || die "--iterations needs a number"; iterations=$2; shift ;;
        --folder) [ $# -ge 2 ] || die "--folder needs a folder"; folder=$2; shift ;;
        *) break ;;
    esac
    shift
done
[ "$agreed" = yes ] || die "this sets kernel.numa_balancing of this host for minutes; say --yes-change-this-host to agree"
[ "$(id -u)" = 0 ] || die "setting kernel.numa_balancing needs root"
[ -w "$knob" ] || die "$knob: this kernel has no NUMA balancing to switch (CONFIG_NUMA_BALANCING)"
command -v "$python" >/dev/null || die "$python: not there; run make first, or set PYTHON"
if [ -z "$folder" ]; then
    folder=$root/build/numa_balancing
fi
mkdir -p "$folder"
was=$(cat "$knob")
child=

restore() {
    status=$?
    trap '' HUP INT TERM # a second signal must not cut this short
    if [ -n "$child" ]; then
        kill -INT "$child" 2>/dev/null || true
        wait "$child" 2>/dev/null || true
    fi
    if printf '%s\n' "$was" >"$knob" && [ "$(cat "$knob")" = "$was" ]; then
        printf 'reproduce: kernel.numa_balancing is %s again\n' "$was" >&2
    else
        printf 'reproduce: COULD NOT RESTORE kernel.numa_balancing: run sysctl kernel.numa_balancing=%s\n' "$was" >&2
        status=1
    fi
    trap - EXIT
    exit "$status"
}
trap restore EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

printf 'reproduce: kernel.numa_balancing is %s now\n' "$was" >&2
round=0
for value in 0 1 0 1; do
    round=$((round + 1))
    result=$folder/$round-numa_balancing-$value.json
    rm -f "$result"
    printf '%s\n' "$value" >"$knob"
    [ "$(cat "$knob")" = "$value" ] || die "kernel.numa_balancing did not take the value $value"
    printf 'reproduce: run %s of 4, kernel.numa_balancing %s\n' "$round" "$value" >&2
    # In the background and waited for: a shell runs its traps only between foreground commands.
    PYTHONPATH=$root "$python" -c 'import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of sh starts with it ignored
from numatune.cli import main
sys.exit(main())' bench --iterations "$iterations" "$@" -o "$result" >"$folder/$round.txt" &
    child=$!
    code=0
    wait "$child" || code=$?
    child=
    # 3 is a run that its own checks mark, because the machine was busy: it is in the table with its mark.
    case $code in 0 | 3) ;; *) die "the benchmark ended with $code" ;; esac
    [ -s "$result" ] || die "the benchmark made no result; its message is above"
done

PYTHONPATH=$root "$python" - "$folder" <<'PYTHON'
import glob
import statistics
import sys

from numatune.verdict.attribution import attribute
from numatune.verdict.run import load_run
from numatune.verdict.statistics import summarise, threshold_of

runs = [load_run(path) for path in sorted(glob.glob(sys.argv[1] + "/[1234]-numa_balancing-[01].json"))]
threshold = min(threshold_of(run.steady().relative) for run in runs)
print()
print("numa_balancing  iterations   p50 ms   max ms  spikes  minor faults p50      max  over 1,000  hint faults")
for run in runs:
    summary = summarise(run, threshold)
    faults = run.counters["minor_faults"]
    hints = run.host.get("vmstat", {}).get("numa_hint_faults", 0)
    mark = "  (" + ", ".join(event["event"] for event in run.events) + ")" if run.events else ""
    print(
        f"{run.environment['numa_balancing']:>14}{summary.iterations:>12}{summary.p50_ms:>9.1f}{summary.max_ms:>9.1f}"
        f"{summary.spikes:>8}{statistics.median(faults):>18,.0f}{faults.max():>9,.0f}{(faults > 1000).sum():>12}"
        f"{hints:>13,}{mark}"
    )
print(f"\nA spike is slower than {threshold:.2f} x its run's median (the quietest run's threshold).")
print("Hint faults are the growth of /proc/vmstat numa_hint_faults over the run; they are system-wide.\n")
for run in runs:
    found = attribute(run, threshold)
    shares = ", ".join(
        f"{share.cause} {share.share:.0%} ({share.low:.0%} to {share.high:.0%}; {share.unit_cost / 1e3:.2f} us each)"
        if not share.is_time
        else f"{share.cause} {share.share:.0%} ({share.low:.0%} to {share.high:.0%})"
        for share in found.shares
    )
    period = f"; every {found.period.seconds:.2g} s (p = {found.period.p:.2g})" if found.period else ""
    print(
        f"numa_balancing {run.environment['numa_balancing']}: {found.spikes} spikes, {found.excess_ns / 1e6:,.0f} ms lost: "
        f"{shares or 'no cause named'}; unexplained {found.unexplained:.0%}{period}"
    )
PYTHON

printf '\n1 before, 0 after:\n'
code=0
PYTHONPATH=$root "$python" -m numatune compare --before "$folder"/[24]-numa_balancing-1.json \
    --after "$folder"/[13]-numa_balancing-0.json || code=$?
# 1 and 3 are verdicts too.
case $code in 0 | 1 | 3) ;; *) die "the comparison ended with $code" ;; esac
