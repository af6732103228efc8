#include "CPodPageModel.h"

static _Thread_local struct pod_page_model *pod_page_model;

#include "../../Sources/CPodVDSO/page/page.c"

long pod_page_model_call(struct pod_page_model *process, unsigned long number, const unsigned long *arguments) {
  struct pod_page_model *outer = pod_page_model;
  pod_page_model = process;
  struct pod_page_frame frame = {.number = number};
  for (int i = 0; i < 6; i++) frame.arguments[i] = arguments[i];
  long result = pod_page_call(&frame);
  pod_page_model = outer;
  return result;
}
