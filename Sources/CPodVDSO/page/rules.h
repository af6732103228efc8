// The boundary table's rows that need no code of their own: what goes in and what comes out is translated as the row says.
//
// What goes in names others only in calls that the supervisor makes: the table can't be written to here, so nothing keeps a
// name from going to somebody else between the look-up and the call. A program's own name becomes 0, which can't.
#ifndef POD_PAGE_RULES_H
#define POD_PAGE_RULES_H

#include "identity.h"

enum { page_attempts = 64 };

typedef int32_t page_word_anywhere __attribute__((aligned(1), may_alias));

static inline const struct pod_page_condition *page_conditions(const struct pod_page_row *row) {
  return (const struct pod_page_condition *)(row + 1);
}
static inline const struct pod_page_place *page_places(const struct pod_page_row *row) {
  return (const struct pod_page_place *)(page_conditions(row) + row->conditions);
}

static inline int page_row_holds(const struct pod_page_row *row, const struct pod_page_frame *frame) {
  const struct pod_page_condition *condition = page_conditions(row);
  for (int i = 0; i < row->conditions; i++, condition++)
    if ((frame->arguments[condition->argument] & condition->mask) != condition->value) return 0;
  return 1;
}

// The row that is for a call; null where the page has none.
static const struct pod_page_row *page_row(const struct pod_page_frame *frame) {
  if (!page_has_rows(frame->number)) return 0;
  const struct pod_page_rules *rules = page_rules();
  const struct pod_page_row *row = (const struct pod_page_row *)(rules->bytes + rules->index[frame->number]);
  for (; row->size != 0; row = (const struct pod_page_row *)((const char *)row + row->size))
    if (page_row_holds(row, frame)) return row;
  return 0;
}

// Whether a number names the calling thread: by its virtual name, or, where nobody has that for a virtual one, by its physical
// one, which is what libraries find in its control block.
static __attribute__((noinline)) int page_is_caller(int32_t number) {
  struct pod_entry_view named = page_find_virtual(number);
  int32_t physical = (int32_t)page_ask(call_gettid);
  return (named.slot != 0 ? named.physical_name : number) == physical && page_thread() != 0;
}

static __attribute__((noinline)) int32_t page_name_of(int32_t physical) {
  page_step(POD_PAGE_VIRTUALIZE, physical);
  int32_t name = pod_table_virtual_of(page_table(), physical);
  if (name != 0) return name;
  const word arguments[6] = {POD_PAGE_MAGIC, POD_HYPERCALL_NAME, (word)(long)physical};
  long answer;
  do answer = page_raw(call_getpid, arguments);
  while (answer == -page_interrupted);
  return answer > 0 ? (int32_t)answer : 0;
}

// The virtual value for one that the kernel gave; 0 for what is outside the pod.
static inline int32_t page_virtual_value(const struct pod_page_place *place, int32_t value) {
  if (value > 0) return page_name_of(value);
  if (!place->is_group_negated || value >= -1 || value == INT32_MIN) return value;
  return -page_name_of(-value);
}

// What came out, translated in its places.
static __attribute__((noinline)) void page_translate_out(const struct pod_page_row *row,
                                                         const struct pod_page_frame *frame, long *result) {
  const struct pod_page_place *place = page_places(row) + row->inputs;
  for (int i = 0; i < row->outputs; i++, place++) {
    char *start = (char *)frame->arguments[place->argument];
    page_word_anywhere *word = (page_word_anywhere *)(start + place->offset);
    if (place->kind == POD_PAGE_RESULT)
      *result = page_virtual_value(place, (int32_t)*result);
    else if (start != 0)
      *word = page_virtual_value(place, *word); // the kernel has just written there
  }
}

// A call that such a row is for.
static __attribute__((noinline)) long page_translate(const struct pod_page_row *row, const struct pod_page_frame *frame) {
  struct pod_page_frame physical = *frame;
  const struct pod_page_place *place = page_places(row);
  for (int i = 0; i < row->inputs; i++, place++) {
    int32_t number = (int32_t)frame->arguments[place->argument];
    if (number > 0 && page_is_caller(number)) physical.arguments[place->argument] = 0;
  }
  if (row->outputs == 0) return page_pass(&physical);
  // The name is that of who had the number when the kernel gave it, if no number changed its owner until it was looked up. Such
  // calls only look, so they are made again. Who sees it change each time is among processes that do nothing else.
  const struct pod_table *table = page_table();
  for (int attempt = 0;; attempt++) {
    uint32_t chain = __atomic_load_n(&table->chain_sequence, __ATOMIC_ACQUIRE);
    long result = page_raw(physical.number, physical.arguments);
    if (result < 0 && result >= -4095) return result;
    page_translate_out(row, frame, &result);
    if (!page_step(POD_PAGE_CHECK, (int32_t)result)) return result;
    if (!(chain & 1) && __atomic_load_n(&table->chain_sequence, __ATOMIC_ACQUIRE) == chain) return result;
    if (attempt == page_attempts) return result;
    // The supervisor may have been interrupted in the middle of a change.
    if (chain & 1) page_ask(call_sched_yield);
  }
}

#endif
