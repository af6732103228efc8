#include "CPodPageModel.h"

static _Thread_local struct pod_page_model *pod_page_model;

#include "../../Sources/CPodVDSO/page/page.c"

// What page_birth does around the kernel's part; the newborn's own part is the test's.
static long make(const struct pod_page_frame *call) {
  struct pod_page_birth birth = {.call = *call};
  long manner = page_birth_begin(&birth);
  if (manner < 0) return manner;
  if (manner == page_birth_elsewhere) return page_raw(call->number, call->arguments);
  word arguments[6];
  for (int i = 0; i < 6; i++) arguments[i] = call->arguments[i];
  if (manner == page_birth_plain) arguments[1] = birth.newborn.kept[0];
  long result = page_raw(call->number, arguments);
  return manner == page_birth_plain ? page_birth_end(&birth, result) : page_birth_woken(&birth, result);
}

long pod_page_model_call(struct pod_page_model *process, unsigned long number, const unsigned long *arguments) {
  struct pod_page_model *outer = pod_page_model;
  pod_page_model = process;
  const word site = 0x1000;
  struct pod_page_frame frame = {.number = number, .return_address = site};
  for (int i = 0; i < 6; i++) frame.arguments[i] = arguments[i];
  long result = number >= page_nr_clone && number <= page_nr_vfork ? make(&frame) : pod_page_call(&frame);
  if (frame.return_address != site) {
    process->is_elsewhere = 1;
    result = page_raw(number, frame.arguments);
    process->is_elsewhere = 0;
  }
  pod_page_model = outer;
  return result;
}
