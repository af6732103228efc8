// The code that is mapped into pod processes. It takes no lock, allocates nothing, uses no vector registers and little
// stack, and may be left by a signal or a longjmp at every instruction.
//
// `make page` compiles this file; POD_PAGE_MODEL compiles the same C into a test target, with a kernel of the tests'.
#include "calls.h"
#include "entries.h"
#include "births.h"
#include "identity.h"
#include "rules.h"
#include "segments.h"
#include "setup.h"
#include "signalling.h"
#include "signals.h"
#include "sites.h"

// A call of the program's. Whatever the page has no way of its own for is made from here as it is, and is a notification, but
// for calls that the filter lets pass from here because the page makes them itself.
long pod_page_call(struct pod_page_frame *frame) {
  if (frame->number == call_rt_sigaction) return page_sigaction(frame);
  const struct pod_page_row *row = page_row(frame);
  if (row == 0) {
    // The filter lets these pass.
    if (frame->number == page_nr_wait4 || frame->number == page_nr_waitid) return page_elsewhere(frame);
    return page_is_identity(frame->number) ? page_have_done(frame) : page_pass(frame);
  }
  if (row->action == POD_PAGE_IDENTIFIES) return page_identify(frame);
  if (row->action == POD_PAGE_TRANSLATES) return page_translate(row, frame);
  if (row->action == POD_PAGE_SIGNALS) return page_send(frame);
  if (row->action == POD_PAGE_WAITS) return frame->number == page_nr_wait4 ? page_wait4(frame) : page_waitid(frame);
  if (row->action == POD_PAGE_MAPS) return page_change_segments(frame);
  return page_pass(frame);
}
