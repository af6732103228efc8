// The pod page's C, compiled for tests: the same code as in pod processes, with a kernel and an area of the tests'.
#ifndef CPODPAGEMODEL_H
#define CPODPAGEMODEL_H

#include "pod_page.h"

// A process as the page sees it. Threads of a modelled process have the same base, forked processes another.
struct pod_page_model {
  // The address of the area; the private part lies below it.
  char *base;
  // The table, when it isn't at its place in the area; else null.
  const struct pod_table *table;
  // What a system call from the page does.
  long (*kernel)(void *context, unsigned long number, const unsigned long *arguments);
  // Called before each step (page/steps.h) on a name; returns 0 to leave a protection out. May be null.
  int (*step)(void *context, int step, int name);
  void *context;
  // Whether the call that comes now is made by the program's own instruction, since the page has left it to that.
  int is_elsewhere;
};

// A call of a modelled process's, made by the calling thread: what POD_PAGE_ENTER does with it. May be called again from
// `kernel` and `step`, as a signal's handler does.
long pod_page_model_call(struct pod_page_model *process, unsigned long number, const unsigned long *arguments);

#endif
