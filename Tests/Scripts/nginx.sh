# nginx: a daemon with workers, reloaded, upgraded, and stopped by the number in its file.
. "$(dirname "$0")/check.sh"
PATH=$PATH:/usr/sbin
# For the upgrade it has to know its own path.
program=$(command -v nginx)
cat > nginx.conf <<END
worker_processes 2;
pid $scratch/nginx.pid;
error_log $scratch/error.log notice;
events { worker_connections 64; }
http {
  access_log $scratch/access.log;
  client_body_temp_path $scratch/body;
  proxy_temp_path $scratch/proxy;
  fastcgi_temp_path $scratch/fastcgi;
  uwsgi_temp_path $scratch/uwsgi;
  scgi_temp_path $scratch/scgi;
  server {
    listen unix:$scratch/socket;
    location / { return 200 "\$pid"; }
  }
}
END
nginx() { "$program" -p "$scratch" -c "$scratch/nginx.conf" -e "$scratch/error.log" "$@" 2>/dev/null; }
# The number of the worker that answers.
cat > ask.py <<'END'
import socket, sys
with socket.socket(socket.AF_UNIX) as client:
    client.connect(sys.argv[1])
    client.sendall(b"GET / HTTP/1.0\r\n\r\n")
    answer = b""
    while data := client.recv(4096):
        answer += data
head, body = answer.split(b"\r\n\r\n")
assert b" 200 " in head.splitlines()[0]
print(body.decode())
END
ask() { python3 ask.py "$scratch/socket"; }

nginx
at_end='kill -TERM $(cat nginx.pid)'
eventually test -s nginx.pid
master=$(cat nginx.pid)
kill -0 "$master"
worker=$(ask)
kill -0 "$worker"
[ "$worker" != "$master" ] || fail "the master answered"
# The log names the same processes.
grep -q "$master#$master: start worker process $worker\$" error.log
[ "$(grep -c "$master#$master: start worker process " error.log)" = 2 ] || fail "not two workers"

# A worker that is killed is replaced.
kill -KILL "$worker"
eventually grep -q "worker process $worker exited on signal 9" error.log
replaced() { [ "$(ask)" != "$worker" ]; }
eventually replaced
gone "$worker"

# Reloaded: new workers, the old ones go, the master stays.
old=$(sed -n 's/.*start worker process //p' error.log)
nginx -s reload
for pid in $old; do eventually gone "$pid"; done
eventually ask >/dev/null
equal "$(cat nginx.pid)" "$master"
kill -0 "$(ask)"

# Logs reopened, in the master and in the workers.
mv access.log access.old
nginx -s reopen
eventually test -e access.log

# Upgraded: a second master, which the first one started, takes over.
kill -USR2 "$master"
eventually test -s nginx.pid.oldbin
equal "$(cat nginx.pid.oldbin)" "$master"
eventually test -s nginx.pid
new=$(cat nginx.pid)
[ "$new" != "$master" ] || fail "the same master"
kill -QUIT "$master"
eventually gone "$master"
kill -0 "$(ask)"

workers=$(sed -n "s/.* $new#.*start worker process //p" error.log)
[ -n "$workers" ] || fail "the new master has no workers"
kill -TERM "$(cat nginx.pid)"
eventually test ! -e nginx.pid
eventually gone "$new" $workers
