# Commands that start, name, wait for and signal others.
. "$(dirname "$0")/check.sh"

# timeout, with its signals and its own group.
status 124 timeout 0.1 sleep 60
# Nobody is ended by SIGWINCH.
status 137 timeout -s WINCH -k 0.1 0.1 sleep 60
status 7 timeout 30 sh -c 'exit 7'
status 138 timeout -s USR1 --preserve-status 0.1 sleep 60
timeout --foreground 0.1 sleep 60 && fail "not ended" || equal $? 124

# nohup: what it starts outlives SIGHUP.
nohup sh -c 'kill -HUP $$; echo alive' > hup 2>/dev/null
equal "$(cat hup)" alive

# setsid: a session and a group of its own.
identity='import os; print(os.getpid() == os.getsid(0) == os.getpgrp())'
equal "$(setsid -w python3 -c "$identity")" True
equal "$(python3 -c "$identity")" False
status 4 setsid -w sh -c 'exit 4'

# nice, renice, ionice: by number.
equal "$(nice -n 3 nice)" 3
sleep 60 & sleeper=$!
at_end="kill -KILL $sleeper"
renice -n 5 -p $sleeper >/dev/null
equal "$(python3 -c "import os; print(os.getpriority(os.PRIO_PROCESS, $sleeper))")" 5
ionice -c 3 -p $sleeper
equal "$(ionice -p $sleeper)" idle

# taskset, chrt, prlimit: of themselves and of others.
cpu=$(taskset -pc $$ | sed 's/.*: //; s/[,-].*//')
taskset -pc "$cpu" $sleeper >/dev/null
equal "$(taskset -pc $sleeper)" "pid $sleeper's current affinity list: $cpu"
equal "$(taskset -c "$cpu" python3 -c 'import os; print(os.sched_getaffinity(0))')" "{$cpu}"
chrt -b -p 0 $sleeper
chrt -p $sleeper | grep -q SCHED_BATCH
chrt -i 0 python3 -c 'import os; assert os.sched_getscheduler(0) == os.SCHED_IDLE'
prlimit --pid $sleeper --nofile=64:64
equal "$(prlimit --pid $sleeper --nofile --noheadings --raw -o SOFT)" 64
kill $sleeper
status 143 wait $sleeper
at_end=true

# flock: excluded while another process has it, free after that was killed.
mkfifo locked
flock lock sh -c 'echo > locked; exec sleep 60' & holder=$!
read -r _ < locked
status 1 flock -n lock true
status 9 flock -w 0.1 -E 9 lock true
# The lock is inherited: both have to go.
python3 - "$PWD/lock" <<'END'
import fcntl, os, sys
with open(sys.argv[1]) as file:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        raise SystemExit("locked twice")
    except BlockingIOError:
        pass
END
kill -TERM $holder
wait $holder || :

# xargs -P.
equal "$(seq 20 | xargs -n 1 -P 4 sh -c 'echo $(($0 * 2))' | sort -n | tail -1)" 40
status 123 xargs -n 1 -P 3 sh -c 'exit $0' <<< "0 1 2"
status 125 xargs -n 1 -P 3 sh -c 'kill -KILL $$' <<< "1"
seq 6 | xargs -n 1 -P 3 sh -c 'echo $PPID' | sort -u > parents
equal "$(wc -l < parents)" 1

# A coprocess, substitutions, wait -n -p.
coproc bc { while read -r a b; do echo $((a + b)); done; }
echo 20 22 >&"${bc[1]}"; read -r sum <&"${bc[0]}"; equal "$sum" 42
kill $bc_PID; wait $bc_PID || :
(exit 3) & first=$!
wait -n -p ended $first || equal $? 3
equal "$ended" "$first"
