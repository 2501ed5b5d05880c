"""The fixed parts of the collector's script: POSIX sh for dash, busybox ash, bash and ksh.

`out` gathers what is to be printed, so that a host sends few packets. What a path or a file holds reaches it behind a
prefix only, and a path only where its characters are plain.
"""

from __future__ import annotations

# `[ -e ]` fails alike for a missing file and for one behind a closed directory; `miss` tells them apart.
# `whole` lets grep find out what is missing: one stat() less for each of a large host's thousands of files. It is for
# the kernel's own directories alone, where nothing blocks; elsewhere `scan` lets regular files alone through.
# `scan` says where a link points for each one with linked=all, and with linked=masks for those that lead to no file.
# A cgroup shows the files of cpuset only where its parent hands that controller on, so `cgroups` looks nowhere else.
# `hands`, `first` and `paragraph` use the shell's own `read`, which costs a call of the kernel for each byte: less than
# a program for what is short.
# bash and ksh read a script from a pipe byte by byte, for a third of their time here; hence cat.
# `one` and `all` gather paths in two steps, because a shell copies the whole variable each time.
# The characters that a path is carried with are letters, digits and `+,-./=@_~`: as few ranges as say it.
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
out= one= all= seen= linked= links= config= daemons= machine= virtual= answered= many= pid= limit= holds= firsts=
veil= veiled=
flush() { printf %s "$out"; out=; }
miss() {
  case $1 in /*) ;; *) return 0;; esac
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
  case $1 in /*) ;; *) return 0;; esac
  q=$1
  while :; do
    q=${q%/*}
    case $q in *[!+-9=@-Z_a-z~]*) ;; *) break;; esac
  done
  out="${out}e $q$nl"
}
scan() {
  for p do
    case $p in *[!+-9=@-Z_a-z~]*)
      if [ -e "$p" ]; then odd "$p"; else miss "$p"; fi
      continue;;
    esac
    if [ -f "$p" ]; then
      out="${out}f $p$nl"
      if [ -n "$veil" ] && [ -r "$p" ]; then veiled="$veiled $p"
      else
        one="$one $p"
        [ ${#one} -lt 1000 ] || { all=$all$one; one=; [ ${#all} -lt 60000 ] || texts; }
      fi
      [ ${#out} -lt 4000 ] || flush
      [ "$linked" = all ] || continue
    elif [ -d "$p" ]; then out="${out}d $p$nl"
    elif [ ! -e "$p" ]; then [ -L "$p" ] || { miss "$p"; continue; }
    fi
    [ -z "$linked" ] || [ ! -L "$p" ] || links="$links $p"
  done
}
within() { [ -d "$1" ] || { miss "$1/"; return 1; }; }
list() {
  if [ -d "$1" ]; then
    for p do
      case $p in *[!+-9=@-Z_a-z~]*) odd "$p";; *) out="${out}d $p$nl";; esac
      [ ${#out} -lt 4000 ] || flush
    done
  else miss "$1"; fi
}
whole() {
  n=$1
  shift
  within "$1" || return 0
  out="${out}w $n$nl"
  for d do
    case $d in *[!+-9=@-Z_a-z~]*) odd "$d/"; continue;; esac
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
      case $l in
        "${2:-$nl}"*) o="$o| $l$nl"; break;;
        *[![:space:]]*) o="$o| $l$nl";;
        *) break;;
      esac
    done <"$1"
    if [ -n "$o" ]; then out="$out@extract $1$nl$o"; else out="$out@failed $1$nl"; fi
  elif [ -e "$1" ]; then out="$out@denied $1$nl"
  else out="$out@states$nl"; miss "$1"; fi
}
first() {
  w=$1
  shift
  for p do
    case $p in *[!+-9=@-Z_a-z~]*) if [ -e "$p" ]; then odd "$p"; else miss "$p"; fi; continue;; esac
    if [ -r "$p" ] && [ -f "$p" ]; then
      o=
      {
        while IFS= read -r l; do
          case $l in *"$w"*) o="| $l$nl"; break;; esac
        done <"$p"
      } 2>/dev/null
      if [ -n "$o" ]; then firsts="$firsts@extract $p$nl$o"; else firsts="$firsts@failed $p$nl"; fi
    elif [ -e "$p" ]; then firsts="$firsts@denied $p$nl"
    else miss "$p"; fi
  done
  out="$out$firsts@states$nl" firsts=
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
hands() {
  l=
  [ ! -r "$1/cgroup.subtree_control" ] || { read -r l <"$1/cgroup.subtree_control"; } 2>/dev/null
  case " $l " in *' cpuset '*) ;; *) return 1;; esac
}
cgroups() {
  n=$1 k=$2
  shift 2
  hands "$1" || {
    set -- "$1/unified"
    hands "$1" || return 0
    for f in $n; do scan "$1/$f"; done
    k=${k#* }
  }
  for k in $k; do
    for d do
      shift
      d=${d%/}
      hands "$d" || continue
      for f in $n; do scan "$d"/*/$f "$d"/.[!.]*/$f; done
      set -- "$@" "$d"/*/ "$d"/.[!.]*/
    done
  done
}
defaults() {
  set -- $N/node[0-9]* $C/cpu[0-9]*/cpufreq
  [ $# != 2 ] || [ ! -d "$1" ] || [ -e "$2" ]
}
command -v timeout >/dev/null 2>&1 && limit='timeout 5'
"""

# What may hold a secret is looked through before any of it is printed: one grep more, and sed where a word gives reason
# (where it cannot do that, these files count as failed). No line of a file begins as grep's messages do: a path stands
# before it.
VEILED = r"""veil=
if [ -n "$veiled" ]; then
  e= t=$(grep -aH '' /dev/null $veiled 2>&1)
  case $nl$t in *"${nl}grep: "*)
    set -f; IFS=$nl; o=
    for l in $t; do
      case $l in 'grep: '*) e="$e$l$nl";; *) o="$o$l$nl";; esac
    done
    set +f; unset IFS
    t=$o o=;;
  esac
  case $t in HINTS)
    t=$(printf '%s\n' "$t" | sed -E EXPRESSIONS) || {
      t=
      for p in $veiled; do out="$out@failed $p$nl"; done
    };;
  esac
  flush
  echo @texts
  [ -z "$t" ] || printf '%s\n' "$t"
  t=$e
  errors
  out="$out@states$nl"
fi
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

# What grep picks from the files that are too large to carry whole, from a program's own words, from the kernel's build
# options (which it gets as its input where /boot does not hold those of the running kernel) and, where systemd does
# not answer, from the names of the processes: the shell itself reads those of few faster, and of more than one call can
# take, none are known. Where there is nothing to pick from, no grep is started.
LINES = r"""all=$all$one
r= b=/usr/sbin/PROGRAM
{ read -r r </proc/sys/kernel/osrelease; } 2>/dev/null
[ -e $b ] || { command -v PROGRAM >/dev/null && b=$(command -v PROGRAM); }
[ ! -r "$b" ] || holds=0
set --
if [ -z "$answered" ]; then
  set -- /proc/[0-9]*/comm
  if [ $# -lt 250 ]; then
    for p do
      IFS= read -r l <$p && case $l in PROCESSES) daemons="$daemons$p:$l$nl";; esac
    done 2>/dev/null
    set --
  elif [ $# -ge 30000 ]; then many=1; set --; fi
fi
[ -z "$holds" ] || set -- "$b" "$@"
set -- "$@" $all
t=
if [ ! -r "/boot/config-$r" ] && [ -r /proc/config.gz ] && command -v gzip >/dev/null && defaults; then
  t=$(gzip -dc /proc/config.gz 2>/dev/null | grep -aoH PATTERNS - "$@" 2>&1)
elif [ $# != 0 ]; then t=$(grep -aoH PATTERNS "$@" 2>&1); fi
out="$out@texts$nl"
set -f; IFS=$nl e=
for l in $t; do
  case $l in
    /proc/*/comm:*) daemons="$daemons$l$nl";;
    "$b:WORD") holds=1;;
    "$b:"*|*:WORD) ;;
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
