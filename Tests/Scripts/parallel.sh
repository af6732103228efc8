# GNU parallel: slots, job logs, --halt, --timeout, and the semaphore, whose files are named by numbers of processes.
. "$(dirname "$0")/check.sh"
export PARALLEL_HOME=$scratch
mkdir -p tmp && export TMPDIR=$scratch/tmp

equal "$(parallel --will-cite -k -j 3 echo '{}{%}' ::: a b c d | cut -c1 | tr -d '\n')" abcd
equal "$(seq 5 | parallel -j 2 --joblog log 'exit {}' || echo $?)" 5
equal "$(awk 'NR > 1 { sum += $7 } END { print sum }' log)" 15
SECONDS=0
parallel -j 2 --halt now,fail=1 ::: 'sleep 60' 'exit 3' && fail "no failure" || equal $? 3
[ $SECONDS -lt 30 ] || fail "did not kill the other job"
parallel -j 2 --timeout 1 sleep ::: 60 && fail "no timeout" || :
[ $SECONDS -lt 30 ] || fail "did not kill what took too long"
