# What the scripts here begin with. Each states as checks on itself how programs that people run behave: it exits 0
# natively, as root and as nobody, and so it must in a pod.
set -eEuo pipefail
trap 'echo "${BASH_SOURCE[0]##*/}:$LINENO: $BASH_COMMAND" >&2' ERR
export LC_ALL=C
scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scratch=$(mktemp -d /tmp/pod-script-XXXXXX)
export HOME=$scratch
cd "$scratch"
at_end=true
trap '(eval "$at_end") >/dev/null 2>&1 || :; rm -rf "$scratch"' EXIT

fail() {
  echo "${BASH_SOURCE[1]##*/}:${BASH_LINENO[0]}: $*" >&2
  exit 1
}

# equal ACTUAL EXPECTED
equal() {
  [ "$1" = "$2" ] && return
  echo "${BASH_SOURCE[1]##*/}:${BASH_LINENO[0]}: \"$1\" is not \"$2\"" >&2
  exit 1
}

# status N COMMAND…: the command ends with this status.
status() {
  local expected=$1 actual=0
  shift
  "$@" || actual=$?
  [ "$actual" = "$expected" ] && return
  echo "${BASH_SOURCE[1]##*/}:${BASH_LINENO[0]}: $* ended with $actual, not $expected" >&2
  exit 1
}

# eventually COMMAND…: it succeeds within 30 s.
eventually() {
  local end=$((SECONDS + 30))
  until "$@" 2>/dev/null; do
    if [ $SECONDS -gt $end ]; then
      echo "${BASH_SOURCE[1]##*/}:${BASH_LINENO[0]}: never came true: $*" >&2
      exit 1
    fi
    sleep 0.02
  done
}

# gone PID…: none of them exists.
gone() {
  local pid
  for pid; do ! kill -0 "$pid" 2>/dev/null || return 1; done
}

# Whether /proc shows processes by the numbers that programs have here; where it doesn't, what reads /proc/PID is left out.
has_own_proc() { sh -c 'read -r pid rest < /proc/self/stat; [ "$pid" = $$ ]'; }
