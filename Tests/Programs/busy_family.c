// Load for tests that kill at random moments: forks, vforks, threads, execs from leaders and from threads, groups,
// sessions, orphans. All that it makes ends by itself within a fraction of a second.
//
//   busy_family MILLISECONDS [MARK]
#include "check.h"

static unsigned seed;
static unsigned draw(void) {
  seed ^= seed << 13;
  seed ^= seed >> 17;
  return seed ^= seed << 5;
}

static char **own_words;
static void execute(char *what) {
  char *words[] = {own_words[0], what, own_words[2], NULL};
  execve("/proc/self/exe", words, environ);
  // No /proc, or no memory: it would have ended soon anyway.
  _exit(0);
}

static void *thread(void *argument) {
  long kind = (long)argument;
  pause_ms(kind % 3);
  if (kind == 1)
    execute("0");
  return NULL;
}

static void member(void) {
  unsigned kind = draw() % 10;
  pthread_t threads[4];
  switch (kind) {
  case 0: execute("0"); break;
  case 1: setsid(); execute("-1"); break;
  case 2:
    setpgid(0, 0);
    if (fork() == 0)
      pause_ms(5);
    break;
  case 3:
  case 4:
    for (long i = 0; i < 4; i++)
      if (pthread_create(&threads[i], NULL, thread, (void *)(kind == 4 ? i : 2)) != 0)
        _exit(0);
    pause_ms(draw() % 4);
    if (kind == 4)
      pthread_exit(NULL);
    break;
  case 5: {
    pid_t child = vfork();
    if (child == 0)
      execute("0");
    if (child > 0)
      waitpid(child, NULL, 0);
    break;
  }
  case 6:
    if (fork() == 0 && fork() == 0)
      pause_ms(3);
    break;
  case 7: raise(SIGKILL); break;
  case 8:
    signal(SIGCHLD, SIG_IGN);
    for (int i = 0; i < 3; i++)
      if (fork() == 0)
        _exit(0);
    wait(NULL);
    break;
  default: pause_ms(draw() % 3);
  }
  _exit(0);
}

int main(int count, char **words) {
  own_words = words;
  long milliseconds = count > 1 ? atol(words[1]) : 100;
  if (count < 3) {
    static char *padded[4];
    padded[0] = words[0];
    padded[1] = count > 1 ? words[1] : "100";
    padded[2] = "unmarked";
    own_words = padded;
  }
  seed = (unsigned)getpid() * 2654435761u | 1;
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  seed ^= (unsigned)now.tv_nsec;
  seed |= 1;
  if (milliseconds < 0)
    member();
  long end = now.tv_sec * 1000 + now.tv_nsec / 1000000 + milliseconds;
  int alive = 0;
  while (milliseconds > 0) {
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec * 1000 + now.tv_nsec / 1000000 >= end)
      break;
    if (alive < 8) {
      pid_t child = fork();
      draw();
      if (child == 0) {
        seed ^= (unsigned)getpid() << 8 | 1;
        member();
      }
      if (child > 0)
        alive++;
    } else {
      if (wait(NULL) > 0 || errno == ECHILD)
        alive--;
    }
  }
  while (wait(NULL) > 0 || errno == EINTR) {
  }
  return 0;
}
