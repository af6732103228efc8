# redis: saved in the background, the saver killed, rewritten, and stopped by the number that it says it has.
. "$(dirname "$0")/check.sh"
redis-server --port 0 --unixsocket "$scratch/socket" --daemonize yes --pidfile "$scratch/redis.pid" \
  --dir "$scratch" --logfile "$scratch/log" --save '' --ignore-warnings ARM64-COW-BUG >/dev/null
cli() { redis-cli -s "$scratch/socket" "$@"; }
pong() { [ "$(cli ping)" = PONG ]; }
eventually pong
info() { cli info "$1" | tr -d '\r' | sed -n "s/^$2://p"; }
pid=$(info server process_id)
at_end="kill -KILL $pid"
equal "$(cat redis.pid)" "$pid"
kill -0 "$pid"
cli eval 'for i = 1, 20000 do redis.call("set", i, i) end' 0 >/dev/null
[ "$(cli dbsize)" -ge 20000 ] || fail "not filled"

saved() { [ "$(info persistence rdb_bgsave_in_progress)" = 0 ]; }
cli bgsave >/dev/null
eventually saved
equal "$(info persistence rdb_last_bgsave_status)" ok
test -s dump.rdb

# The saver is slow, known by its number in the log, and killed.
cli config set rdb-key-save-delay 1000 >/dev/null
cli bgsave >/dev/null
saver=$(sed -n 's/.*Background saving started by pid //p' log | tail -1)
kill -0 "$saver"
kill -KILL "$saver"
failed() { [ "$(info persistence rdb_last_bgsave_status)" = err ]; }
eventually failed
gone "$saver"
cli config set rdb-key-save-delay 0 >/dev/null

cli bgrewriteaof >/dev/null
rewritten() { [ "$(info persistence aof_rewrite_in_progress)$(info persistence aof_rewrite_scheduled)" = 00 ]; }
eventually rewritten
equal "$(info persistence aof_last_bgrewrite_status)" ok

kill -TERM "$pid"
eventually gone "$pid"
at_end=true
test ! -e redis.pid
