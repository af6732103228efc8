// Calls from patched sites. A site's trampoline comes here with the program's registers as they are at its call, by an
// instruction in the place of the one before `syscall` (PodSeccomp/CallSite.swift); `syscall` itself is left where it is.
#ifndef POD_PAGE_SITES_H
#define POD_PAGE_SITES_H

#include "signals.h"

long pod_page_call(struct pod_page_frame *frame);

// A call of the program's. Whatever the page has no way of its own for goes back to the program's instruction, as if its site
// weren't patched: a site may make any call.
__attribute__((used)) long pod_page_site(struct pod_page_frame *frame) {
  if (frame->number != call_rt_sigaction) {
    const struct pod_page_row *row = page_row(frame);
    if (row == 0 || row->action == POD_PAGE_PASSES) return page_elsewhere(frame);
  }
  return pod_page_call(frame);
}

#endif
