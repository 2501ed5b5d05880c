"""The fixed parts of the collector's script: POSIX sh for dash, busybox ash, bash and ksh.

What is said here of how it works is for whoever changes it; the script's own comments are for whoever reviews it.

A program that is started costs a millisecond, a built-in of the shell nothing: so one grep reads all files. What is
printed is gathered, so that a host sends few packets. `read` costs a call of the kernel for each byte.
"""

from __future__ import annotations

# {programs} is filled in.
HEAD = r"""# numatune's collector: it reads what a host's latency settings are, and prints it.
#
# It only reads. It writes nothing but its standard output and error, changes no setting, starts no service, opens no
# network connection, and keeps nothing on the host. It needs sh, grep and sed; where they are installed, it also starts
# {programs}.
# It runs as the user who logged in, or by sudo: `sh -s`, with this text, byte for byte, as its input.
#
# It prints, after the line "numatune-snapshot 1", sections that begin with "@":
#   @asked CHECKSUM...  for each kind of file that this script looks for
#   @states             what there is: "f FILE", "d FOLDER", "n FOLDER" that may not be looked into, "e FOLDER" that
#                       holds a name with odd characters, "o FILE" that is a device, socket or pipe; "w NAMES", then
#                       "t FOLDER" that may hold files of these names
#   @texts              "FILE:LINE" for each line of the files
#   @ended STATUS       behind an empty line: how grep or sed ended, where it may not have read all of these files
#   @errors             "| " and what grep could not read
#   @links              "LINK TARGET"
#   @extract FILE       "| " and each line of a file that is not read whole; "@failed FILE" where it could not be read
#   @command NAME CODE  "| " and each line of the answer to a question, with its exit status or "absent"
#   @end                only a stream that ends so is whole
# Whatever comes from a file or a program stands behind a path or "| ", so none of it can pass for a section.
# To follow it, begin at the end: "What is read".

LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin
export LC_ALL PATH
newline='
'
echo 'numatune-snapshot 1'
for tool in grep sed; do
  command -v $tool >/dev/null 2>&1 || {
    echo "@missing $tool"
    echo "numatune needs $tool" >&2
    exit 127
  }
done
# What may hang is given up after five seconds.
limit=
command -v timeout >/dev/null 2>&1 && limit='timeout 5'

# --- What it prints with ---

# say TEXT: print a line. Lines are gathered, so that they travel in few packets.
output=
say() {
  output=$output$1$newline
  [ ${#output} -lt 4000 ] || flush
}

flush() {
  printf %s "$output"
  output=
}

# quote TEXT: print each line of it, empty ones too, behind "| ".
quote() {
  text=$1
  while [ -n "$text" ]; do
    case $text in
      *"$newline"*)
        line=${text%%"$newline"*}
        text=${text#*"$newline"};;
      *)
        line=$text
        text=;;
    esac
    say "| $line"
  done
}

# --- Which files there are ---

# is_plain PATH: whether it holds nothing but letters, digits and +,-./=@_~ (as ranges). No other path is printed.
is_plain() {
  case $1 in *[!+-9=@-Z_a-z~]*) return 1;; esac
}

# odd PATH: say which folder holds the first name that is not plain.
odd() {
  upper=$1
  while :; do
    upper=${upper%/*}
    is_plain "$upper" && break
  done
  say "e $upper"
}

# missing PATH: a path that is not seen does not exist, or a folder above it is closed to this user: then say which.
looked_into=
missing() {
  upper=${1%/*}
  [ "$upper" != "$looked_into" ] || return 0
  looked_into=$upper
  while [ -n "$upper" ]; do
    if [ -e "$upper" ]; then
      if [ -d "$upper" ] && { [ ! -x "$upper" ] || [ ! -r "$upper" ]; }; then
        if is_plain "$upper"; then say "n $upper"; else odd "$upper"; fi
      fi
      return 0
    fi
    upper=${upper%/*}
  done
}

# scan KIND PATH...: say which of these files and folders there are, and note the files, to read them later.
# KIND is "plain"; "long" for files of which some lines are picked; "links" to note symbolic links too, or "masks" to
# note only links that lead to no regular file. Devices, sockets and pipes are never opened.
long_files=
links=
scan() {
  kind=$1
  shift
  for path do
    if ! is_plain "$path"; then
      if [ -e "$path" ]; then odd "$path"; else missing "$path"; fi
      continue
    fi
    if [ -f "$path" ]; then
      say "f $path"
      if [ $kind = long ]; then long_files="$long_files $path"; else note "$path"; fi
      [ $kind = links ] || continue
    elif [ -d "$path" ]; then
      say "d $path"
    elif [ ! -e "$path" ] && [ ! -L "$path" ]; then
      missing "$path"
      continue
    elif [ ! -L "$path" ]; then
      say "o $path"
    fi
    case $kind in
      links|masks) [ ! -L "$path" ] || links="$links $path";;
    esac
  done
}

# scan_in KIND NAMES FOLDER...: the files of these names in each of the folders.
scan_in() {
  kind=$1
  names=$2
  shift 2
  for folder do
    if [ ! -x "$folder" ]; then
      missing "$folder/"
      continue
    fi
    for name in $names; do
      if [ -e "$folder/$name" ] || [ -L "$folder/$name" ]; then scan $kind "$folder/$name"; fi
    done
  done
}

# kernel_files NAMES FOLDER...: the same for the kernel's own folders, where grep finds out which files there are.
kernel_files() {
  names=$1
  shift
  if [ ! -d "$1" ]; then
    missing "$1/"
    return
  fi
  say "w $names"
  for folder do
    if is_plain "$folder"; then
      say "t $folder"
      for name in $names; do few="$few $folder/$name"; done
      not_too_many
    else
      odd "$folder/"
    fi
  done
}
"""

# For `cpusets`, which a host without cgroup v2 does not need.
CPUSETS = r"""
# has_cpusets CGROUP: whether it hands the cpuset controller on to the cgroups below it; the others show no such files.
has_cpusets() {
  controllers=
  [ ! -r "$1/cgroup.subtree_control" ] || { read -r controllers <"$1/cgroup.subtree_control"; } 2>/dev/null
  case " $controllers " in *' cpuset '*) return 0;; esac
  return 1
}

# cpusets NAMES LEVELS CGROUP: the files of these names in the cgroups below, at each level, where there may be any.
cpusets() {
  names=$1
  levels=$2
  shift 2
  if ! has_cpusets "$1"; then
    # Where cgroup v1 is in use as well, v2 is one level deeper.
    set -- "$1/unified"
    has_cpusets "$1" || return 0
    for name in $names; do scan plain "$1/$name"; done
    levels=${levels#* }
  fi
  for level in $levels; do
    for group do
      shift
      group=${group%/}
      has_cpusets "$group" || continue
      for name in $names; do scan plain "$group"/*/$name "$group"/.[!.]*/$name; done
      set -- "$@" "$group"/*/ "$group"/.[!.]*/
    done
  done
}
"""

READ = r"""
# --- What is in them ---

# note FILE: it is read by the next `read_files`. In two steps, for a shell copies the whole of what it appends to.
few=
files=
note() {
  few="$few $1"
  not_too_many
}

not_too_many() {
  [ ${#few} -ge 1000 ] || return 0
  files=$files$few
  few=
  [ ${#files} -lt 60000 ] || read_files
}

# ended STATUS: say so where what reads files may not have read them all; a line that was cut ends there.
ended() {
  [ "$1" = 1 ] || printf '\n@ended %s\n' "$1"
}

# read_files: print the noted files, with one grep: it puts the path before each line, and goes on after a file that
# cannot be read. What it complains of is printed too.
read_files() {
  files=$files$few
  few=
  [ -n "$files" ] || return 0
  flush
  echo @texts
  {reading}
  files=
  complain
}

complain() {
  if [ -n "$complaints" ]; then
    say @errors
    set -f
    IFS=$newline
    for line in $complaints; do say "| $line"; done
    unset IFS
    set +f
  fi
  say @states
}

# pick EXPRESSION FILE...: of these files, which are long, `read_picked` prints the matching lines alone.
expressions=
pick() {
  expressions="$expressions|$1"
  shift
  scan long "$@"
}

read_picked() {
  [ -n "$long_files" ] || return 0
  flush
  echo @texts
  { complaints=$({ grep -aHE -e "${expressions#?}" /dev/null $long_files || ended $?; } 2>&1 >&4); } 4>&1
  complain
}

# first_lines LAST FILE...: print the first lines of files, up to an empty one or to one that holds the word LAST.
first_lines() {
  last=${1:-$newline}
  shift
  for path do
    if is_plain "$path" && [ -f "$path" ] && [ -r "$path" ]; then
      found=
      while IFS= read -r line; do
        case $line in *[![:space:]]*) found="$found$newline| $line";; *) break;; esac
        case $line in *"$last"*) break;; esac
      done 2>/dev/null <"$path"
      if [ -n "$found" ]; then say "@extract $path$found"; else say "@failed $path"; fi
    else
      say @states
      scan long "$path"
    fi
  done
  say @states
}

# edit FILE EDITS: print what sed makes of one file that is long.
edit() {
  if [ -f "$1" ] && [ -r "$1" ]; then
    if edited=$(sed -n "$2" "$1" 2>/dev/null); then
      say "@extract $1"
      [ -z "$edited" ] || say "$edited"
    else
      say "@failed $1"
    fi
    say @states
  else
    scan long "$1"
  fi
}

# read_links: print where the noted links point.
read_links() {
  [ -n "$links" ] || return 0
  say @links
  if ! pair_links; then
    pairs=
    for link in $links; do
      target=$(readlink -- "$link" 2>/dev/null) || continue
      case $target in *"$newline"*) ;; *) pairs="$pairs$link $target$newline";; esac
    done
  fi
  say "$pairs@states"
}

# Ask for all links at once. That fails where a target has a line break in it, and with a readlink that takes one alone.
pair_links() {
  targets=$(readlink -- $links 2>/dev/null) || return 1
  targets=$targets$newline
  pairs=
  for link in $links; do
    target=${targets%%"$newline"*}
    [ -n "$target" ] || return 1
    pairs="$pairs$link $target$newline"
    targets=${targets#*"$newline"}
  done
  [ -z "$targets" ]
}
"""

# {edits} is filled in.
SECRETS = r"""
# Every line of a file that is printed whole passes here: of one that may hold secrets (the boot loader's, the kernel
# arguments', TuneD's and numatune's own), "[left-out]" takes the place of GRUB's passwords and their hashes; of the
# value of an argument whose name says that it is a password, token, credential, secret, or an API, auth or private key
# (in capitals or not, in quotes or not); and of a user and password in an address.
leave_secrets_out() {
  sed -E{edits}
}
"""
# What stands for {reading} in READ: with secrets left out, or without. A sed that cannot do that prints nothing.
LEFT_OUT = r"""{
    complaints=$({ { grep -aH '' /dev/null $files || ended $?; } | leave_secrets_out >&4; } 2>&1) || ended sed
  } 4>&1"""
WHOLE = r"""{ complaints=$({ grep -aH '' /dev/null $files || ended $?; } 2>&1 >&4); } 4>&1"""

QUESTIONS = r"""
# --- Questions that no single file answers ---

# ask NAME [PROGRAM]: print what the function ask_NAME leaves in "answer", if the program that it needs is installed.
# "absent=yes" says that there was nothing to ask.
ask() {
  answer=
  absent=
  if [ -n "$2" ] && ! command -v "$2" >/dev/null 2>&1; then
    code=absent
  else
    "ask_$1" </dev/null 2>/dev/null
    code=$?
    [ -z "$absent" ] || code=absent
  fi
  say "@command $1 $code"
  quote "$answer"
}

# What earlier questions found: the architecture, what systemd says of units, and the processes of services.
machine=
units=
daemons=
"""

PROGRAM_WORD = r"""
# ask_word NAME PROGRAM WORD: whether the file of a program holds a word: 1 or 0, nothing where it cannot be read.
ask_word() {
  answer=
  file=/usr/sbin/$2
  [ -e "$file" ] || { command -v "$2" >/dev/null 2>&1 && file=$(command -v "$2"); }
  if [ -r "$file" ]; then
    # Of a program that is no text, what stands between its zero bytes counts as a line.
    grep -qzF -e "$3" "$file" 2>/dev/null
    case $? in
      0) answer=1;;
      1) answer=0;;
    esac
  fi
  say "@command $1 0"
  quote "$answer"
}
"""

KERNEL_CONFIG = r"""# The running kernel's own build options, where /boot does not hold them.
release=
read -r release </proc/sys/kernel/osrelease
if [ -z "$build_options" ] || [ -r "/boot/config-$release" ] || [ ! -r /proc/config.gz ]; then
  absent=yes
  return
fi
# With the first line of any such file, to see that it was read.
answer=$(gzip -dc /proc/config.gz | grep -E -e "${build_options#?}" -e '^# Automatically generated')
[ -n "$answer" ]"""

BUILD_OPTIONS = r"""
# look_for OPTION...: these build options of kernels.
build_options=
look_for() {
  for option do build_options="$build_options|^$option="; done
}

exists() {
  [ -e "$1" ]
}
"""

END = r"""
flush
echo @end
"""
