// Who the caller is: getpid, gettid, getppid, getpgrp, getpgid and getsid, from the cache and the table.
//
// What the table doesn't say for certain (a task that nobody has named yet, one that has ended) the supervisor is asked.
#ifndef POD_PAGE_IDENTITY_H
#define POD_PAGE_IDENTITY_H

#include "calls.h"

// The words of a process's entry (ProcessTable.swift, `Link`): a process's first is when it was born, a thread's is its process.
enum { page_link_process = 0, page_link_order = 0, page_link_parent = 1, page_link_group = 2, page_link_session = 3 };

// A process: its name, 0 for unknown, and where its entry is.
struct page_process {
  int32_t name;
  uint32_t slot;
};

static __attribute__((noinline)) struct pod_entry_view page_find(int32_t name) {
  struct pod_entry_view view = pod_table_find_virtual(page_table(), name);
  if (view.state != POD_ENTRY_LIVE) view.slot = 0;
  return view;
}

// The live task with a virtual number.
static inline struct pod_entry_view page_find_virtual(int32_t name) {
  page_step(POD_PAGE_LOOK_UP, name);
  return page_find(name);
}

// The live task with a physical number.
static __attribute__((noinline)) struct pod_entry_view page_find_physical(int32_t physical) {
  page_step(POD_PAGE_VIRTUALIZE, physical);
  struct pod_entry_view view = page_find(pod_table_virtual_of(page_table(), physical));
  if (view.physical_name != physical) view.slot = 0;
  return view;
}

static struct page_process page_find_process(int32_t physical) {
  struct pod_entry_view view = page_find_physical(physical);
  struct page_process none = {0, 0};
  if (view.slot == 0 || view.flags & POD_ENTRY_THREAD) return none;
  struct page_process found = {view.virtual_name, view.slot};
  return found;
}

static inline uint64_t page_word_of(struct page_process process) {
  return (uint64_t)process.slot << 32 | (uint32_t)process.name;
}

// The look-up that fills the cache. Threads, and handlers of signals that cut off a look-up, may do it at once: they find the
// same. A process that shares the memory finds another, so it keeps nothing.
static __attribute__((noinline)) struct page_process page_look_up_self(void) {
  struct pod_page_cache *cache = page_cache();
  struct page_process none = {0, 0};
  if (!page_has_rows(call_getpid)) return none;
  for (;;) {
    uint64_t known = __atomic_load_n(&cache->process, __ATOMIC_RELAXED);
    uint32_t physical = (uint32_t)page_ask(call_getpid);
    if (__atomic_load_n(&cache->sharers, __ATOMIC_RELAXED) != 0) return page_find_process((int32_t)physical);
    if ((int32_t)known != 0) {
      struct page_process process = {(int32_t)known, known >> 32};
      return process;
    }
    uint64_t claimed = (uint64_t)physical << 32;
    page_step(POD_PAGE_CLAIM, (int32_t)physical);
    if (known != claimed &&
        !__atomic_compare_exchange_n(&cache->process, &known, claimed, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
      continue;
    struct page_process found = page_find_process((int32_t)physical);
    if (found.name == 0) return found;
    if (!page_step(POD_PAGE_CHECK, found.name)) {
      __atomic_store_n(&cache->process, page_word_of(found), __ATOMIC_RELAXED);
      return found;
    }
    // In a child that a signal's handler made meanwhile, the claim isn't there.
    if (__atomic_compare_exchange_n(
            &cache->process, &claimed, page_word_of(found), 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
      return found;
  }
}

// The caller's process; its name is 0 when the table doesn't have it (yet).
static inline struct page_process page_self(void) {
  struct pod_page_cache *cache = page_cache();
  uint64_t known = __atomic_load_n(&cache->process, __ATOMIC_RELAXED);
  if ((int32_t)known == 0 || __atomic_load_n(&cache->sharers, __ATOMIC_RELAXED) != 0) return page_look_up_self();
  struct page_process process = {(int32_t)known, known >> 32};
  return process;
}

// The entry of the caller's process; slot 0 when it isn't known.
static inline struct pod_entry_view page_own_entry(void) {
  struct page_process self = page_self();
  struct pod_entry_view view = {0};
  if (self.name == 0) return view;
  page_step(POD_PAGE_LOOK_UP, self.name);
  view = pod_entry_read(page_table(), self.slot);
  if (view.virtual_name != self.name || view.state != POD_ENTRY_LIVE) view.slot = 0;
  return view;
}

static inline int page_names_late(void) {
  return (*(volatile uint64_t *)(page_base() + POD_AREA_MACHINE) & POD_MACHINE_NAMES_LATE) != 0;
}

// The virtual name of the calling thread; 0 for unknown.
static __attribute__((noinline)) int32_t page_thread(void) {
  if (!page_has_rows(call_gettid)) return 0;
  struct page_process self = page_self();
  int32_t physical = (int32_t)page_ask(call_gettid);
  struct pod_entry_view view = page_find_physical(physical);
  if (self.name == 0) return 0;
  // A thread that nobody has heard of, and to whom its maker gave its number for a name (births.h).
  if (view.slot == 0 && page_names_late() && pod_table_find_virtual(page_table(), physical).slot == 0 &&
      (int32_t)page_ask(call_getpid) != physical)
    return physical;
  if (view.slot == 0) return 0;
  // The number may have been that of another process's thread, whose end the table doesn't have yet.
  int32_t process = view.flags & POD_ENTRY_THREAD ? view.links[page_link_process] : view.virtual_name;
  if (process != self.name && page_step(POD_PAGE_CHECK, view.virtual_name)) return 0;
  return view.virtual_name;
}

// The caller's parent; 0 for unknown. The kernel is asked: a parent may end without the table's knowing it, and a program that
// has just asked to be told of that end (PR_SET_PDEATHSIG) looks at its parent to learn whether it came too late.
static __attribute__((noinline)) int32_t page_parent(void) {
  int32_t physical = (int32_t)page_ask(call_getppid);
  struct pod_entry_view own = page_own_entry();
  if (physical <= 0 || own.slot == 0) return 0;
  // Who was the parent at some time and has the parent's number now is it: whom an orphan is given to was there before its
  // parent ended, so it has another number.
  struct pod_entry_view parent = page_find_virtual(own.links[page_link_parent]);
  if (parent.slot != 0 && parent.physical_name == physical) return parent.virtual_name;
  // The table doesn't have the new parent yet. It didn't end, nor its number change its owner, as long as it is the parent.
  parent = page_find_physical(physical);
  if (parent.slot == 0 || parent.flags & POD_ENTRY_THREAD) return 0;
  if (page_step(POD_PAGE_CHECK, physical) && (int32_t)page_ask(call_getppid) != physical) return 0;
  return parent.virtual_name;
}

// The group or session of a process, 0 being the caller; 0 for unknown. They change by calls of the caller's and its parent's
// only, which return when the table has it.
static __attribute__((noinline)) int32_t page_membership(int32_t process, int link) {
  struct pod_entry_view view = process == 0 ? page_own_entry() : page_find_virtual(process);
  if (view.slot != 0 && view.flags & POD_ENTRY_THREAD) {
    // Nobody tells of a thread's end.
    const word thread[6] = {(word)view.physical_name};
    if (page_names_late() && page_raw(call_getpgid, thread) < 0) return 0;
    view = page_find_virtual(view.links[page_link_process]);
  }
  if (view.slot == 0 || view.flags & POD_ENTRY_THREAD) return 0;
  return view.links[link];
}

static inline int page_is_identity(word number) {
  return number == call_getpid || number == call_gettid || number == call_getppid || number == call_getpgrp ||
         number == call_getpgid || number == call_getsid;
}

// An identity call.
static __attribute__((noinline)) long page_identify(const struct pod_page_frame *frame) {
  int32_t name;
  switch (frame->number) {
  case call_getpid: name = page_self().name; break;
  case call_gettid: name = page_thread(); break;
  case call_getppid: name = page_parent(); break;
  case call_getpgrp: name = page_membership(0, page_link_group); break;
  case call_getpgid: name = page_membership((int32_t)frame->arguments[0], page_link_group); break;
  default: name = page_membership((int32_t)frame->arguments[0], page_link_session); break;
  }
  return name > 0 ? name : page_have_done(frame);
}

#endif
