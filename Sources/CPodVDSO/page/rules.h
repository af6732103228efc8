// The boundary table's rows that need no code of their own: what goes in and what comes out is translated as the row says.
//
// What goes in names others only in calls that the supervisor makes: the table can't be written to here, so nothing keeps a
// name from going to somebody else between the look-up and the call. A program's own name becomes 0, which can't.
#ifndef POD_PAGE_RULES_H
#define POD_PAGE_RULES_H

#include "identity.h"

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

// The virtual value for one that the kernel gave; 0 for a name that the table doesn't have. `value` isn't 0.
static int32_t page_virtual_value(const struct pod_page_place *place, int32_t value) {
  if (value > 0) return pod_table_virtual_of(page_table(), value);
  if (!place->is_group_negated || value == -1 || value == INT32_MIN) return value;
  return -pod_table_virtual_of(page_table(), -value);
}

// What came out, translated in its places. Returns 0 when the table doesn't have a name.
static __attribute__((noinline)) int page_translate_out(const struct pod_page_row *row,
                                                        const struct pod_page_frame *frame, long *result) {
  const struct pod_page_place *place = page_places(row) + row->inputs;
  for (int i = 0; i < row->outputs; i++, place++) {
    char *start = (char *)frame->arguments[place->argument];
    page_word_anywhere *word = (page_word_anywhere *)(start + place->offset);
    if (place->kind == POD_PAGE_FIELD && start == 0) continue;
    // The kernel has just written there.
    int32_t value = place->kind == POD_PAGE_FIELD ? *word : (int32_t)*result;
    if (value == 0) continue;
    page_step(POD_PAGE_VIRTUALIZE, value);
    int32_t name = page_virtual_value(place, value);
    if (name == 0) return 0;
    if (place->kind == POD_PAGE_FIELD)
      *word = name;
    else
      *result = name;
  }
  return 1;
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
  const struct pod_table *table = page_table();
  // The name is that of who had the number when the kernel gave it, if no number changed its owner until it was looked up. Such
  // calls only look, so they can be made again.
  for (int attempt = 0; attempt < 2; attempt++) {
    uint32_t chain = __atomic_load_n(&table->chain_sequence, __ATOMIC_ACQUIRE);
    long result = page_raw(physical.number, physical.arguments);
    if (result < 0 && result >= -4095) return result;
    int is_whole = page_translate_out(row, frame, &result);
    int is_now = !page_step(POD_PAGE_CHECK, (int32_t)result) ||
                 (!(chain & 1) && __atomic_load_n(&table->chain_sequence, __ATOMIC_ACQUIRE) == chain);
    if (is_whole && is_now) return result;
    if (is_now) break;
  }
  return page_have_done(frame);
}

#endif
