# ipcmk, ipcs and ipcrm: what is made is listed, by the tables of /proc too, and gone when it is removed.
set -eu
queue=$(ipcmk -Q | grep -o '[0-9]*$')
set_=$(ipcmk -S 3 | grep -o '[0-9]*$')
segment=$(ipcmk -M 4096 | grep -o '[0-9]*$')
has() { ipcs "-$1" | awk -v id="$2" '$2 == id { found = 1 } END { exit !found }'; }
has q "$queue" && has s "$set_" && has m "$segment"
[ "$(ipcs -s | awk -v id="$set_" '$2 == id { print $5 }')" = 3 ]
[ "$(ipcs -m | awk -v id="$segment" '$2 == id { print $5 }')" = 4096 ]
for table in msg:$queue sem:$set_ shm:$segment; do
  awk -v id="${table#*:}" '$2 == id { found = 1 } END { exit !found }' "/proc/sysvipc/${table%:*}"
done
ipcrm -q "$queue" -s "$set_" -m "$segment"
! has q "$queue"
! has s "$set_"
! has m "$segment"
