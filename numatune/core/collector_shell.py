"""The fixed parts of the collector's script: POSIX sh for dash, busybox ash, bash and ksh.

`out` gathers what is to be printed, so that a host sends few packets. What a path or a file holds reaches it behind a
prefix only, and a path only where its characters are plain.
"""

from __future__ import annotations

# `[ -e ]` fails alike for a missing file and for one behind a closed directory; `miss` tells them apart.
# `whole` lets grep find out what is missing: one stat() less for each of a large host's thousands of files. It is for
# the kernel's own directories alone, where nothing blocks; elsewhere `scan` lets regular files alone through.
# bash and ksh read a script from a pipe byte by byte, for a third of their time here; hence cat.
# `one` and `all` gather paths in two steps, because a shell copies the whole variable each time.
HEAD = r"""# numatune: read-only host inspection. It writes nothing but its standard output.
[ -z "$BASH_VERSION$KSH_VERSION" ] || eval "$(cat)"
LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
export LC_ALL PATH
echo 'numatune-snapshot 1'
for t in grep sed; do
  command -v $t >/dev/null 2>&1 || { echo "@missing $t"; echo "numatune needs $t" >&2; exit 127; }
done
nl='
'
out= one= all= seen= linked= links= config= daemons= info= machine= answered= many= pid=
flush() { printf %s "$out"; out=; }
miss() {
  q=${1%/*}
  [ "$q" != "$seen" ] || return 0
  seen=$q
  while [ -n "$q" ]; do
    if [ -e "$q" ]; then
      if [ -d "$q" ] && { [ ! -x "$q" ] || [ ! -r "$q" ]; }; then
        case $q in *"$nl"*) odd "$q";; *) out="${out}n $q$nl";; esac
      fi
      return 0
    fi
    q=${q%/*}
  done
}
odd() {
  q=$1
  while :; do
    q=${q%/*}
    case $q in *[!A-Za-z0-9_./@+,=~-]*) ;; *) break;; esac
  done
  out="${out}e $q$nl"
}
scan() {
  for p do
    case $p in *[!A-Za-z0-9_./@+,=~-]*)
      if [ -e "$p" ]; then odd "$p"; else miss "$p"; fi
      continue;;
    esac
    if [ ! -e "$p" ]; then
      [ -L "$p" ] || { miss "$p"; continue; }
    elif [ -f "$p" ]; then
      out="${out}f $p$nl" one="$one $p"
      [ ${#one} -lt 1000 ] || { all=$all$one; one=; [ ${#all} -lt 60000 ] || texts; }
    elif [ -d "$p" ]; then
      out="${out}d $p$nl"
    fi
    [ -z "$linked" ] || [ ! -L "$p" ] || links="$links $p"
    [ ${#out} -lt 4000 ] || flush
  done
}
list() {
  if [ -d "$1" ]; then
    for p do
      case $p in *[!A-Za-z0-9_./@+,=~-]*) odd "$p";; *) out="${out}d $p$nl";; esac
      [ ${#out} -lt 4000 ] || flush
    done
  else miss "$1"; fi
}
whole() {
  n=$1
  shift
  [ -d "$1" ] || { miss "$1/"; return 0; }
  out="${out}w $n$nl"
  for d do
    case $d in *[!A-Za-z0-9_./@+,=~-]*) odd "$d/"; continue;; esac
    out="${out}t $d$nl"
    for f in $n; do one="$one $d/$f"; done
    [ ${#one} -lt 1000 ] || { all=$all$one; one=; [ ${#all} -lt 60000 ] || texts; }
    [ ${#out} -lt 4000 ] || flush
  done
}
texts() {
  all=$all$one
  flush
  echo @texts
  { t=$(grep -aH '' /dev/null $all 2>&1 >&4); } 4>&1
  errors
  out="$out@states$nl" one= all=
}
errors() {
  [ -n "$t" ] || return 0
  out="$out@errors$nl"
  set -f; IFS=$nl
  for l in $t; do
    out="$out| $l$nl"
    [ ${#out} -lt 4000 ] || flush
  done
  set +f; unset IFS
}
tell() {
  out="$out@command $1 ${s:-$2}$nl"
  while [ -n "$o" ]; do
    case $o in
      *"$nl"*) l=${o%%"$nl"*} o=${o#*"$nl"};;
      *) l=$o o=;;
    esac
    out="$out| $l$nl"
  done
}
paragraph() {
  if [ -r "$1" ] && [ -f "$1" ]; then
    o=
    while IFS= read -r l; do
      case $l in *[![:space:]]*) o="$o| $l$nl";; *) break;; esac
    done <"$1"
    info=$o
    if [ -n "$o" ]; then out="$out@extract $1$nl$o"; else out="$out@failed $1$nl"; fi
  elif [ -e "$1" ]; then out="$out@denied $1$nl"
  else out="$out@states$nl"; miss "$1"; fi
}
cut() {
  p=$1
  shift
  if [ -r "$p" ] && [ -f "$p" ]; then
    if t=$(sed -n "$@" "$p" 2>/dev/null); then flush; printf '@extract %s\n' "$p"; [ -z "$t" ] || printf '%s\n' "$t"
    else out="$out@failed $p$nl"; fi
  elif [ -e "$p" ]; then out="$out@denied $p$nl"
  else out="$out@states$nl"; miss "$p"; fi
}
cpusets() {
  for d in /sys/fs/cgroup /sys/fs/cgroup/unified; do
    l=
    [ ! -r $d/cgroup.subtree_control ] || read -r l <$d/cgroup.subtree_control
    case " $l " in *' cpuset '*) return 0;; esac
  done
  return 1
}
limit() { "$@"; }
if command -v timeout >/dev/null 2>&1; then limit() { timeout 5 "$@"; }; fi
"""

# One readlink for all links, and one for each where that tells their number wrong (a target of several lines, which
# an empty one would hide) or the program takes one alone (busybox).
TEXTS = r"""texts
if [ -n "$links" ]; then
  out="$out@links$nl"
  set -- $links
  if [ $# -gt 1 ] && t=$(readlink -- "$@" 2>/dev/null); then
    case $nl$t in *"$nl$nl"*) t=;; esac
    set -f; IFS=$nl; set -- $t; set +f; unset IFS
    n=$#
    set -- $links
  else n=0; fi
  for p do
    if [ $# = $n ]; then l=${t%%"$nl"*} t=${t#*"$nl"}
    else l=$(readlink -- "$p" 2>/dev/null) || continue; fi
    case $l in *"$nl"*) ;; *) out="$out$p $l$nl";; esac
  done
  out="$out@states$nl"
fi
"""

# What grep picks from the files that are too large to carry whole, from the kernel's build options (which it gets as
# its input where /boot does not hold those of the running kernel) and, where systemd does not answer, from the names
# of the processes (of more than one call can take, none are known). One node has no NUMA balancing by default, and
# without cpufreq there is no governor: then no setting asks for the options.
LINES = r"""all=$all$one
r=
{ read -r r </proc/sys/kernel/osrelease; } 2>/dev/null
options() {
  [ ! -r "/boot/config-$r" ] && [ -r /proc/config.gz ] && command -v gzip >/dev/null || return 1
  set -- $N/node[0-9]* $C/cpu[0-9]*/cpufreq
  [ $# != 2 ] || [ ! -d "$1" ] || [ -e "$2" ]
}
set -- /dev/null $all
if [ -z "$answered" ]; then
  set -- "$@" /proc/[0-9]*/comm
  [ $# -lt 30000 ] || { many=1; set -- /dev/null $all; }
fi
if options; then
  t=$(gzip -dc /proc/config.gz 2>/dev/null | grep -aH PATTERNS - "$@" 2>&1)
else t=$(grep -aH PATTERNS "$@" 2>&1); fi
out="$out@texts$nl"
set -f; IFS=$nl e=
for l in $t; do
  case $l in
    /proc/*/comm:*) daemons="$daemons$l$nl";;
    '(standard input):'*) config="$config${l#*:}$nl";;
    'grep: /proc/'*) ;;
    /*) out="$out$l$nl";;
    *) e="$e$l$nl";;
  esac
done
set +f; unset IFS
t=$e
errors
"""
