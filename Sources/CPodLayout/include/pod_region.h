// Where a table lives by default: zeroed memory whose pages are given out when they are touched. Not the heap's: what
// the heap gives out again it zeroes by hand, and a pod's table of mostly unused names would be resident whole.
#ifndef POD_REGION_H
#define POD_REGION_H

#include <sys/mman.h>

// In front of the region; it keeps the alignment of a cache line.
struct pod_region {
  unsigned long size;
  unsigned long reserved[7];
};

static inline void *pod_region_allocate(unsigned long size) {
  size += sizeof(struct pod_region);
  void *start = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
  if (start == MAP_FAILED) return 0;
  struct pod_region *region = (struct pod_region *)start;
  region->size = size;
  return region + 1;
}

static inline void pod_region_free(void *region) {
  if (!region) return;
  struct pod_region *start = (struct pod_region *)region - 1;
  munmap(start, start->size);
}

#endif
