// The code that is mapped into pod processes. It takes no lock, allocates nothing, uses no vector registers and little
// stack, and may be left by a signal or a longjmp at every instruction.
//
// `make page` compiles this file; POD_PAGE_MODEL compiles the same C into a test target, with a kernel of the tests'.
#include "calls.h"
#include "entries.h"
#include "births.h"
#include "identity.h"
#include "setup.h"

// A call of the program's. Whatever the page has no way of its own for is made from here as it is, and is a notification.
long pod_page_call(struct pod_page_frame *frame) {
  switch (frame->number) {
  case call_getpid:
  case call_gettid:
  case call_getppid:
  case call_getpgrp:
  case call_getpgid:
  case call_getsid: return page_identify(frame);
  case page_nr_wait4: return page_wait4(frame);
  case page_nr_waitid: return page_waitid(frame);
  default: return page_pass(frame);
  }
}
