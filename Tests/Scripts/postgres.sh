# PostgreSQL: made, started and waited for, queried in parallel, backends cancelled, ended and killed, stopped.
if [ "$(id -u)" = 0 ]; then
  exec setpriv --reuid 65534 --regid 65534 --clear-groups bash "$0" "$@"
fi
. "$(dirname "$0")/check.sh"
for directory in /usr/lib/postgresql/*/bin; do PATH=$directory:$PATH; done
data=$scratch/data
initdb -D "$data" -U test -A trust --no-sync --no-locale -E UTF8 >/dev/null
cat >> "$data/postgresql.conf" <<END
listen_addresses = ''
unix_socket_directories = '$scratch'
fsync = off
shared_buffers = 16MB
max_connections = 20
autovacuum = off
min_parallel_table_scan_size = 0
parallel_setup_cost = 0
parallel_tuple_cost = 0
max_parallel_workers_per_gather = 2
${settings:-}
END
at_end="pg_ctl -D $data stop -m immediate"
pg_ctl -D "$data" -w -t 45 -l log start >/dev/null || { cat log >&2; fail "not started"; }
postmaster=$(head -1 "$data/postmaster.pid")
kill -0 "$postmaster"
pg_ctl -D "$data" status | grep -q "PID: $postmaster"
sql() { psql -h "$scratch" -U test -d postgres -X -A -t -q "$@"; }
equal "$(sql -c 'select 6 * 7')" 42

# Workers of their own for one query: started by the postmaster, at the backend's request.
sql -c 'create table numbers as select i from generate_series(1, 50000) i' -c 'analyze numbers'
sql -c 'explain (analyze, costs off, timing off) select sum(i) from numbers' > plan
grep -q 'Workers Launched: 2' plan || fail "$(cat plan)"
equal "$(sql -c 'select sum(i) from numbers')" 1250025000

# The backend's number is known to the server, to the client and to the system.
backend() { sql -c "select pid from pg_stat_activity where state = 'active' and query like '%pg_sleep(6%' and pid <> pg_backend_pid()"; }
sleeping() { [ -n "$(backend)" ]; }
sql -c 'select pg_sleep(60)' 2> cancelled & client=$!
eventually sleeping
kill -0 "$(backend)"
equal "$(sql -c "select pg_cancel_backend($(backend))")" t
status 1 wait $client
grep -q 'canceling statement due to user request' cancelled
sql -c 'select pg_sleep(61)' 2> terminated & client=$!
eventually sleeping
pid=$(backend)
equal "$(sql -c "select pg_terminate_backend($pid, 20000)")" t
status 2 wait $client
grep -q 'terminating connection due to administrator command' terminated
eventually gone "$pid"

# A lock that another backend waits for, and the deadlock that a third looks for by numbers.
sql -c 'begin' -c 'lock table numbers' -c 'select pg_sleep(62)' -c 'commit' >/dev/null 2>&1 & holder=$!
eventually sleeping
locker=$(backend)
sql -c 'select count(*) from numbers' > counted & waiter=$!
waits() { [ "$(sql -c "select pg_blocking_pids(pid) from pg_stat_activity where wait_event_type = 'Lock'")" = "{$locker}" ]; }
eventually waits
sql -c "select pg_terminate_backend($locker)" >/dev/null
wait $holder || :
wait $waiter
equal "$(cat counted)" 50000

# A backend that is killed takes all others along, and the server recovers.
sql -c 'select pg_sleep(63)' >/dev/null 2>&1 & client=$!
eventually sleeping
kill -KILL "$(backend)"
status 2 wait $client
recovered() { [ "$(sql -c 'select count(*) from numbers')" = 50000 ]; }
eventually recovered
equal "$(head -1 "$data/postmaster.pid")" "$postmaster"

pg_ctl -D "$data" reload >/dev/null
pg_ctl -D "$data" -w -m fast stop >/dev/null
eventually gone "$postmaster"
status 3 pg_ctl -D "$data" status >/dev/null
at_end=true
