# tmux: a server, a client, two windows with terminals of their own, and the processes in them.
. "$(dirname "$0")/check.sh"
unset TMUX
export TERM=xterm SHELL=/bin/bash ENV= PS1='$ '
mux() { tmux -S "$scratch/socket" -f /dev/null "$@"; }
at_end="mux kill-server"
mux new-session -d -s main -n one -x 80 -y 24 'exec bash --norc --noprofile'
mux new-window -t main -n two 'exec bash --norc --noprofile'
equal "$(mux list-windows -t main -F '#{window_name}' | tr '\n' ' ')" "one two "
server=$(mux display-message -p '#{pid}')
kill -0 "$server"
one=$(mux list-panes -t main:one -F '#{pane_pid}')
two=$(mux list-panes -t main:two -F '#{pane_pid}')
[ "$one" != "$two" ] || fail "two panes with one process"

# The number that tmux has for a pane's process is the one that the process has for itself.
mux send-keys -t main:one "echo \$\$ \$PPID > $scratch/one" Enter
eventually test -s one
equal "$(cat one)" "$one $server"
mux send-keys -t main:two 'echo wi""ndow $((40 + 2))' Enter
shows() { mux capture-pane -p -t "$1" | grep -qx "$2"; }
eventually shows main:two 'window 42'

# The terminal's keys reach the group in the foreground.
mux send-keys -t main:two "sleep 61 & sleep 62" Enter
started() { mux capture-pane -p -t main:two | grep -q '^\[1\] '; }
eventually started
background=$(mux capture-pane -p -t main:two | sed -n 's/^\[1\] //p')
kill -0 "$background"
sleep 0.2
mux send-keys -t main:two C-z
stopped() { mux capture-pane -p -t main:two | grep -q 'Stopped *sleep 62'; }
eventually stopped
mux send-keys -t main:two 'bg' Enter 'fg' Enter
sleep 0.2
mux send-keys -t main:two C-c
mux send-keys -t main:two 'echo st""atus $?' Enter
eventually shows main:two 'status 130'
kill -0 "$background"

# Its size is the terminal's, and what listens to SIGWINCH is told.
mux send-keys -t main:one "trap 'stty size > $scratch/size' WINCH" Enter
mux send-keys -t main:one "echo > $scratch/trapped" Enter
eventually test -s trapped
mux resize-window -t main:one -x 100 -y 30
resized() { mux send-keys -t main:one Enter; grep -qx '30 100' size; }
eventually resized

# A closed window's session ends.
mux kill-window -t main:two
eventually gone "$two"
equal "$(mux list-windows -t main -F '#{window_name}')" one
mux pipe-pane -t main:one "cat > $scratch/piped"
mux send-keys -t main:one 'echo pi""ped' Enter
eventually grep -q piped piped
mux send-keys -t main:one exit Enter
eventually gone "$one" "$server"
