// kill, tkill and tgkill, where the kernel keeps signals in the pod: only then has the boundary table rows for the page.
//
// Between the look-up and the call a target may end, be reaped, and its number be given to another process of the pod, at any
// distance: the kernel reaps for parents that ignore SIGCHLD, and a call may wait for the processor in the kernel. Who names
// itself, its own threads or its own group can't come too late: it lives, and keeps the numbers. Everybody else is named to the
// kernel by a descriptor, which never comes to mean another process, and whose inode, which is never given again, is compared
// with the table's before it is used.
#ifndef POD_PAGE_SIGNALLING_H
#define POD_PAGE_SIGNALLING_H

#include "births.h"
#include "identity.h"

// Source: asm-generic/signal-defs.h; uapi/linux/pidfd.h.
enum { page_signals = 64, page_sig_block = 0, page_sig_setmask = 2, page_pidfd_group = 1 << 2 };

// Source: arch/x86/include/uapi/asm/stat.h, struct stat.
struct page_file_status {
  word device, inode, rest[16];
};

// Whether an entry is one of the process's: itself or a thread of it.
static inline int page_is_member(const struct pod_entry_view *entry, int32_t process) {
  if (entry->slot == 0) return 0;
  return (entry->flags & POD_ENTRY_THREAD ? entry->links[page_link_process] : entry->virtual_name) == process;
}

// The kernel's number of a thread of the caller's process, by its virtual number or, as libraries have it, by the kernel's;
// 0 when it is none of them, or not for certain.
static __attribute__((noinline)) int32_t page_own_thread(int32_t thread, const struct pod_entry_view *own, int in_pod) {
  if (thread == own->virtual_name) return own->physical_name;
  struct pod_entry_view found = page_find_virtual(thread);
  if (page_is_member(&found, own->virtual_name)) return found.physical_name;
  // Where no process is named, a name of the pod's comes before a number of the caller's.
  if (found.slot != 0 && in_pod) return 0;
  found = page_find_physical(thread);
  return page_is_member(&found, own->virtual_name) ? found.physical_name : 0;
}

// Sends a signal to another process, or to the group that it leads. Returns 1 when it can't be told who has the number: nothing was sent.
//
// The descriptor is there for some microseconds: signals wait meanwhile, so that no handler leaves it behind, by a jump or to
// a child.
static __attribute__((noinline)) long page_send_to(const struct pod_entry_view *target, int32_t signal, int is_group) {
  word kept = 0;
  const word all = ~0ul;
  const word block[6] = {page_sig_block, (word)&all, (word)&kept, sizeof all};
  page_raw(call_rt_sigprocmask, block);
  const word open[6] = {(word)target->physical_name};
  long result = 1, handle = page_raw(call_pidfd_open, open);
  if (handle >= 0) {
    struct page_file_status status;
    const word look[6] = {(word)handle, (word)&status};
    int is_seen = page_raw(call_fstat, look) == 0;
    int is_meant = is_seen && (uint32_t)*(volatile word *)&status.inode == target->identity;
    if (is_meant || !page_step(POD_PAGE_CHECK, target->virtual_name)) {
      const word send[6] = {(word)handle, (word)signal, 0, is_group ? page_pidfd_group : 0};
      result = page_raw(call_pidfd_send_signal, send);
    }
    page_raw(call_close, look);
  }
  const word restore[6] = {page_sig_setmask, (word)&kept, 0, sizeof kept};
  page_raw(call_rt_sigprocmask, restore);
  return result;
}

// A call that sends a signal. What the table doesn't say for certain, and what concerns the pod's init or everybody in the pod,
// the program's own instruction asks the supervisor.
static __attribute__((noinline)) long page_send(struct pod_page_frame *frame) {
  struct pod_entry_view own = page_own_entry();
  // A filter of the program's own is to see the names that the program has.
  if (own.slot == 0 || own.flags & POD_ENTRY_FILTERED) return page_elsewhere(frame);
  int32_t target = (int32_t)frame->arguments[0];
  if (frame->number != call_kill) {
    int is_tkill = frame->number == call_tkill;
    int32_t thread = is_tkill ? target : (int32_t)frame->arguments[1];
    word signal = frame->arguments[is_tkill ? 1 : 2];
    int32_t physical = 0;
    if (thread > 0 && (is_tkill || target == own.virtual_name)) physical = page_own_thread(thread, &own, is_tkill);
    if (physical == 0 || (uint32_t)signal > page_signals) return page_elsewhere(frame);
    const word arguments[6] = {(word)own.physical_name, (word)physical, signal};
    return page_raw(call_tgkill, arguments);
  }
  int32_t signal = (int32_t)frame->arguments[1];
  if ((uint32_t)signal > page_signals) return page_elsewhere(frame);
  if (target == 0 || target == own.virtual_name || target == -own.virtual_name) {
    int32_t physical = target == 0 ? 0 : target < 0 ? -own.physical_name : own.physical_name;
    const word arguments[6] = {(word)(long)physical, (word)signal};
    return page_raw(call_kill, arguments);
  }
  int32_t name = target < 0 ? (int32_t)-(uint32_t)target : target;
  if (name <= 1) return page_elsewhere(frame);
  struct pod_entry_view found = page_find_virtual(name);
  if (found.slot == 0 || found.identity == 0 || found.flags & POD_ENTRY_THREAD) return page_elsewhere(frame);
  long result = page_send_to(&found, signal, target < 0);
  return result > 0 ? page_elsewhere(frame) : result;
}

#endif
