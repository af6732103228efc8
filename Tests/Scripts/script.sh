# script: a terminal of its own for a command, in a session of its own.
. "$(dirname "$0")/check.sh"
identity='import os; print(os.getsid(0) == os.getpid() == os.tcgetpgrp(0), os.ttyname(0).startswith("/dev/"))'
script -qec "exec python3 -c '$identity'" log < /dev/null > output
equal "$(tr -d '\r' < output)" "True True"
status 7 script -qec 'exit 7' /dev/null < /dev/null
status 143 script -qec 'kill -TERM $$' /dev/null < /dev/null >/dev/null

# Job control on it: one that reads in the background is stopped, and goes on in the foreground.
cat > jobs <<'END'
set -m
python3 -c 'import sys; print("read", sys.stdin.readline().strip())' &
while ! jobs | grep -q Stopped; do sleep 0.02; done
echo stopped
fg >/dev/null
END
(while ! grep -q stopped typed 2>/dev/null; do sleep 0.02; done; echo line; sleep 0.2) |
  script -qec 'bash --norc jobs' /dev/null > typed
tr -d '\r' < typed | grep -qx 'read line'
