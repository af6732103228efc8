# OpenSSH: a daemon that executes itself anew for each connection, filters the calls of what speaks with strangers, changes
# users, and makes sessions and terminals.
. "$(dirname "$0")/check.sh"
PATH=$PATH:/usr/sbin:/sbin
sshd=$(command -v sshd)
user=$(id -un)
# systemd's library calls nobody's account locked, where the real entry can't be read.
export SYSTEMD_NSS_BYPASS_SYNTHETIC=1
# Root's daemon locks itself in there before it knows who calls.
if [ "$(id -u)" = 0 ] && ! mkdir -p -m 755 /run/sshd; then
  echo "left out: sshd of root needs /run/sshd" && exit 0
fi
# A daemon that isn't root's serves its own user only, and one without a shell nothing but files and forwarding.
case $(getent passwd "$user" | cut -d: -f7) in
  */nologin | */false | '') has_shell=false ;;
  *) has_shell=true ;;
esac

mkdir -m 700 keys
ssh-keygen -q -t ed25519 -N '' -f keys/host
ssh-keygen -q -t ed25519 -N '' -f keys/own
cp keys/own.pub keys/authorized
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat > sshd_config <<END
Port $port
ListenAddress 127.0.0.1
HostKey $scratch/keys/host
AuthorizedKeysFile $scratch/keys/authorized
PidFile $scratch/sshd.pid
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
UseDNS no
PrintMotd no
Subsystem sftp internal-sftp
MaxStartups 100
LogLevel VERBOSE
END
cat > ssh_config <<END
Host pod
  HostName 127.0.0.1
  Port $port
  User $user
  IdentityFile $scratch/keys/own
  IdentitiesOnly yes
  UserKnownHostsFile $scratch/keys/known
  StrictHostKeyChecking accept-new
  BatchMode yes
  ConnectTimeout 30
  LogLevel ERROR
END
ssh() { command ssh -F "$scratch/ssh_config" "$@"; }
# The same as a background process, whose number is the client's own.
client() { exec ssh -F "$scratch/ssh_config" "$@"; }
sftp() { command sftp -q -F "$scratch/ssh_config" "$@"; }

"$sshd" -t -f "$scratch/sshd_config"
"$sshd" -f "$scratch/sshd_config" -E "$scratch/log"
at_end='cat log >&2; kill -TERM $(cat sshd.pid)'
eventually test -s sshd.pid
daemon=$(cat sshd.pid)
kill -0 "$daemon"

# Forwarding: through the daemon to itself.
banner() { ssh -W "127.0.0.1:$port" pod < /dev/null | head -c 7; }
equal "$(banner)" SSH-2.0
grep -q "Accepted publickey for $user from 127.0.0.1" log

# Files.
seq 100000 > sent
mkdir put
echo "put $scratch/sent $scratch/put/there
rename $scratch/put/there $scratch/put/here
get $scratch/put/here $scratch/received
rm $scratch/put/here" | sftp -b - pod > /dev/null
cmp sent received
test ! -e put/here

# A key that nobody has allowed.
ssh-keygen -q -t ed25519 -N '' -f keys/other
status 255 ssh -o IdentityFile="$scratch/keys/other" -i keys/other -o IdentityAgent=none \
  -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=QUIET \
  -p "$port" "$user@127.0.0.1" true

# Several at once.
several=()
for i in 1 2 3 4 5 6; do
  banner > "several.$i" & several+=($!)
done
for pid in "${several[@]}"; do wait "$pid"; done
equal "$(cat several.*)" SSH-2.0SSH-2.0SSH-2.0SSH-2.0SSH-2.0SSH-2.0

if $has_shell; then
  equal "$(ssh pod echo one 'two   three')" "one two three"
  equal "$(ssh pod 'test -n "$SSH_CONNECTION" && ! test -t 0 && echo "$USER"')" "$user"
  status 7 ssh pod exit 7
  status 255 ssh pod 'kill -TERM $$'
  equal "$(seq 20000 | ssh pod sort -rn | head -n 1)" 20000
  # The other end's numbers are this end's.
  numbers=$(ssh pod 'kill -0 $PPID && echo $$ $PPID')
  eventually gone $numbers
  client pod "echo \$\$ > $scratch/there; exec sleep 60" & client=$!
  eventually test -s there
  kill -TERM "$(cat there)"
  status 255 wait "$client"
  # When the client goes, so does what it had started on a terminal.
  rm there
  client -tt pod "echo \$\$ > $scratch/there; exec sleep 60" < /dev/null > /dev/null & client=$!
  eventually test -s there
  kill -KILL "$client"
  eventually gone "$(cat there)"

  # A terminal: its size, its session, its keys.
  identity='import os; print(os.getsid(0) == os.getpid() == os.tcgetpgrp(0), os.ttyname(0).startswith("/dev/"))'
  equal "$(ssh -tt pod "exec python3 -c '$identity'" < /dev/null | tr -d '\r')" "True True"
  script -qec "stty rows 33 cols 77; ssh -F $scratch/ssh_config -tt pod stty size" /dev/null < /dev/null > size
  equal "$(grep -o '33 77' size)" "33 77"
  status 3 ssh -tt pod 'trap "echo interrupted; exit 3" INT; echo ready; while :; do sleep 0.05; done' > typed < <(
    while ! grep -q ready typed; do sleep 0.02; done 2>/dev/null
    printf '\003'
    while ! grep -q interrupted typed; do sleep 0.02; done)
  tr -d '\r' < typed | grep -q 'interrupted$'

  several=()
  for i in 1 2 3 4 5 6; do
    client pod "sleep 0.2; echo $i; exit $i" > "several.$i" & several+=($!)
  done
  for i in 1 2 3 4 5 6; do status $i wait "${several[i - 1]}"; done
  equal "$(cat several.*)" "$(seq 6)"

  # Several sessions over one connection.
  client -M -N -S "$scratch/master" pod & client=$!
  eventually ssh -S "$scratch/master" -O check pod
  for i in 1 2 3; do client -S "$scratch/master" pod "exit $i" & several[i]=$!; done
  for i in 1 2 3; do status $i wait "${several[i]}"; done
  ssh -S "$scratch/master" -O exit pod 2>/dev/null
  wait "$client" || :
fi

# Reloaded: it executes itself, and makes itself a daemon anew unless its parent is process 1.
listening() { grep -c "Server listening" log; }
kill -HUP "$daemon"
again() { [ "$(listening)" = 2 ]; }
eventually again
eventually test -s sshd.pid
daemon=$(cat sshd.pid)
kill -0 "$daemon"
equal "$(banner)" SSH-2.0

# Its end leaves sessions alone.
mkfifo feed
client -W "127.0.0.1:$port" pod < feed > last & client=$!
exec 9> feed
eventually test -s last
kill -TERM "$daemon"
eventually gone "$daemon"
at_end=true
kill -0 "$client"
exec 9>&-
wait "$client" || :
