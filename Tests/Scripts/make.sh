# make -j2 of a C program: compilers, linkers, and the pipe from which jobs are taken.
. "$(dirname "$0")/check.sh"
for i in 1 2 3 4 5 6; do echo "int f$i(int x) { return x + $i; }" > f$i.c; done
{
  for i in 1 2 3 4 5 6; do echo "int f$i(int);"; done
  echo 'int main(void) { return f1(f2(f3(f4(f5(f6(21)))))) != 42; }'
} > main.c
echo 'prog: $(patsubst %.c,%.o,$(wildcard *.c)); gcc -o $@ $^' > Makefile
make -s -j2
./prog

# Half of it is made, the rest is killed: nothing is left that runs.
cat > Makefile <<'END'
all: a b
a:; @echo $$PPID > a.parent; exec sleep 60
b:; @while [ ! -s a.parent ]; do sleep 0.01; done; exit 3
END
make -s -j2 2>/dev/null & maker=$!
eventually test -s a.parent
equal "$(cat a.parent)" "$maker"
kill -TERM $maker
wait $maker || :
gone $maker
