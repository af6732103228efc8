// Which thread the caller is, by its thread pointer: a word per thread in the cache, which says so once the thread has asked.
#ifndef POD_PAGE_THREADS_H
#define POD_PAGE_THREADS_H

#include "calls.h"

// A word is the thread pointer's upper bits and the name, 0 while it is being looked up; the slot that it is in has the lower
// bits. Pointers that aren't multiples of 16 aren't kept, nor is 0: a thread has it before its library has given it one.
enum { page_name_bits = 23, page_upper_bits = 12 };

_Static_assert(POD_AREA_THREADS + POD_PAGE_THREADS * 8 <= 0, "pod_page.h");

static inline uint64_t page_thread_word(word pointer, int32_t name) {
  return (uint64_t)(pointer >> page_upper_bits) << page_name_bits | (uint32_t)name;
}

static inline uint64_t *page_thread_slot(word pointer) {
  return (uint64_t *)(page_base() + POD_AREA_THREADS) + (pointer >> 4 ^ pointer >> 23) % POD_PAGE_THREADS;
}

// The caller's thread pointer; 0 where it can't be had without a call, or isn't kept.
static inline word page_own_pointer(void) {
  word pointer = 0;
#ifndef POD_PAGE_MODEL
  if (*(volatile uint64_t *)(page_base() + POD_AREA_MACHINE) & POD_MACHINE_READS_FS)
    __asm__("rdfsbase %0" : "=r"(pointer));
#endif
  // Others that share the memory may have the same.
  return pointer % 16 == 0 && __atomic_load_n(&page_cache()->sharers, __ATOMIC_RELAXED) == 0 ? pointer : 0;
}

// The name that is kept; 0 for none.
static inline int32_t page_thread_known(word pointer) {
  if (pointer == 0) return 0;
  uint64_t found = __atomic_load_n(page_thread_slot(pointer), __ATOMIC_RELAXED);
  return (found ^ page_thread_word(pointer, 0)) >> page_name_bits == 0 ? (int32_t)(found & ((1 << page_name_bits) - 1)) : 0;
}

// The caller is going to look itself up, and has done so: in a child that a signal's handler made meanwhile, what was
// begun isn't there, so what is found, which is the parent's, isn't kept.
static inline void page_thread_claim(word pointer) {
  if (pointer != 0) __atomic_store_n(page_thread_slot(pointer), page_thread_word(pointer, 0), __ATOMIC_RELAXED);
}
static inline void page_thread_keep(word pointer, int32_t name) {
  uint64_t claimed = page_thread_word(pointer, 0);
  if (pointer == 0 || name >> page_name_bits != 0 || __atomic_load_n(&page_cache()->sharers, __ATOMIC_RELAXED) != 0) return;
  __atomic_compare_exchange_n(page_thread_slot(pointer), &claimed, page_thread_word(pointer, name), 0, __ATOMIC_RELAXED,
                              __ATOMIC_RELAXED);
}

// A thread is about to be made with this pointer, which another one had before.
static inline void page_thread_forget(word pointer) {
  __atomic_store_n(page_thread_slot(pointer), 0, __ATOMIC_RELAXED);
}

#endif
