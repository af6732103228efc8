// shmat and shmdt: the supervisor gives the file that a segment is, or says how much is mapped of one, and the rest is done
// here, with signals waiting: no handler finds a descriptor that isn't the program's, or a part of the work.
//
// What isn't plain the program's own instruction has done by the supervisor: a place of the program's choice, a failure.
#ifndef POD_PAGE_SEGMENTS_H
#define POD_PAGE_SEGMENTS_H

#include "signalling.h"

// Source: asm-generic/mman-common.h; uapi/linux/shm.h; linux/fs.h.
enum {
  page_map_shared = 1, page_read_write_execute = 7, page_writing = 2, page_executing = 4, page_seek_end = 2,
  page_shm_read_only = 010000, page_shm_execute = 0100000,
};

static inline long page_question(word hypercall, const struct pod_page_frame *frame) {
  const word arguments[6] = {
      POD_PAGE_MAGIC, hypercall, frame->arguments[0], frame->arguments[1], frame->arguments[2]};
  return page_raw(call_getpid, arguments);
}

// Maps a segment anywhere. Returns the address, what the supervisor said, or 0 when it is to be done elsewhere.
static __attribute__((noinline)) long page_map_segment(const struct pod_page_frame *frame) {
  long file = page_question(POD_HYPERCALL_ATTACH, frame);
  if (file < 0) return file;
  const word seek[6] = {(word)file, 0, page_seek_end};
  long size = page_raw(call_lseek, seek);
  word protection = page_read_write_execute;
  if (frame->arguments[2] & page_shm_read_only) protection &= ~(word)page_writing;
  if (!(frame->arguments[2] & page_shm_execute)) protection &= ~(word)page_executing;
  const word map[6] = {0, (word)size, protection, page_map_shared, (word)file, 0};
  long address = size > 0 ? page_raw(call_mmap, map) : 0;
  page_raw(call_close, seek);
  return address < 0 && address >= -4095 ? 0 : address;
}

static __attribute__((noinline)) long page_unmap_segment(const struct pod_page_frame *frame) {
  long size = page_question(POD_HYPERCALL_DETACH, frame);
  if (size < 0) return size;
  const word unmap[6] = {frame->arguments[0], (word)size};
  return page_raw(call_munmap, unmap) == 0;
}

static __attribute__((noinline)) long page_change_segments(struct pod_page_frame *frame) {
  int attaches = frame->number == call_shmat;
  struct pod_entry_view own = page_own_entry();
  if (own.slot == 0 || own.flags & POD_ENTRY_FILTERED || (attaches && frame->arguments[1] != 0)) return page_elsewhere(frame);
  word kept = 0;
  const word all = ~0ul;
  const word block[6] = {page_sig_block, (word)&all, (word)&kept, sizeof all};
  page_raw(call_rt_sigprocmask, block);
  long result = attaches ? page_map_segment(frame) : page_unmap_segment(frame);
  const word restore[6] = {page_sig_setmask, (word)&kept, 0, sizeof kept};
  page_raw(call_rt_sigprocmask, restore);
  if (result == 0 || result == -page_no_function) return page_elsewhere(frame);
  return attaches || result < 0 ? result : 0;
}

#endif
