# Daemons that fork twice, with files that say who they are, and start-stop-daemon.
. "$(dirname "$0")/check.sh"

cat > daemon.py <<'END'
import os, signal, sys, time

if os.fork():
    os._exit(0)
os.setsid()
session = os.getpid()
if os.fork():
    os._exit(0)
parent = os.getppid()
while os.getppid() == session:
    time.sleep(0.005)
assert os.getsid(0) == session == os.getpgrp() != os.getpid()
os.chdir("/")
for descriptor in range(3):
    os.dup2(os.open("/dev/null", os.O_RDWR), descriptor)
reloads = 0

def reload(number, frame):
    global reloads
    reloads += 1
    with open(sys.argv[1] + ".reloads", "w") as file:
        file.write(f"{reloads}\n")

def end(number, frame):
    os.unlink(sys.argv[1])
    os._exit(0)

signal.signal(signal.SIGHUP, reload)
signal.signal(signal.SIGTERM, end)
with open(sys.argv[1] + ".new", "w") as file:
    file.write(f"{os.getpid()}\n")
os.rename(sys.argv[1] + ".new", sys.argv[1])
while True:
    signal.pause()
END

python3 daemon.py "$PWD/pid"
eventually test -s pid
pid=$(cat pid)
at_end="kill -KILL $pid"
kill -HUP "$pid"
eventually test -s pid.reloads
kill -TERM "$pid"
eventually test ! -e pid
eventually gone "$pid"
at_end=true

PATH=$PATH:/usr/sbin:/sbin
daemon() { start-stop-daemon --quiet --pidfile "$PWD/ssd.pid" "$@"; }
status 3 daemon --status
daemon --start --background --make-pidfile --startas /bin/sleep -- 60
pid=$(cat ssd.pid)
at_end="kill -KILL $pid"
kill -0 "$pid"
daemon --status
status 1 daemon --start --background --make-pidfile --startas /bin/sleep -- 60
daemon --stop --signal CONT
if has_own_proc; then
  # It looks for the program behind the number.
  eventually daemon --status --exec "$(readlink -f /bin/sleep)"
  daemon --status --exec /bin/sh && fail "another program" || :
fi
daemon --stop --retry TERM/10/KILL/10
gone "$pid"
at_end=true
status 1 daemon --status
status 1 daemon --stop
rm ssd.pid

# One that a TERM doesn't end.
daemon --start --background --make-pidfile --startas /bin/bash -- -c "trap '' TERM; echo > $PWD/ready; while :; do sleep 0.1; done"
pid=$(cat ssd.pid)
at_end="kill -KILL $pid"
eventually test -s ready
daemon --stop --retry TERM/1/KILL/10
gone "$pid"
at_end=true

# One that makes itself a daemon and writes the file itself.
daemon --start --startas "$(command -v python3)" -- "$PWD/daemon.py" "$PWD/ssd.pid.own"
eventually test -s ssd.pid.own
at_end="kill -KILL $(cat ssd.pid.own)"
start-stop-daemon --quiet --stop --retry 10 --pidfile "$PWD/ssd.pid.own"
test ! -e ssd.pid.own
at_end=true
