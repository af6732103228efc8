# A static busybox: a shell and programs in one, by another author than bash's.
. "$(dirname "$0")/check.sh"
[ "$(busybox sh -c 'busybox sh -c "echo \$PPID"; echo $$' | sort -u | wc -l)" = 1 ] || fail "parents"
busybox sh -c 'busybox sleep 60 & busybox kill -9 $!; wait $!; [ $? = 137 ]' 2>/dev/null
status 143 busybox timeout 0.1 busybox sleep 60
equal "$(busybox seq 3 | busybox tac | busybox head -1)" 3
equal "$(busybox setsid busybox sh -c 'echo own')" own
status 5 busybox sh -c '(exit 5) & wait $!'
busybox start-stop-daemon -S -b -m -p "$PWD/pid" -x /bin/busybox -- sleep 60
eventually test -s pid
at_end='kill -KILL $(cat pid)'
kill -0 "$(cat pid)"
kill -TERM "$(cat pid)"
eventually gone "$(cat pid)"
at_end=true
