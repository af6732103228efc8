// Where a table lives by default: zeroed memory whose pages are given out when they are touched. Not the heap's: what
// the heap gives out again it zeroes by hand, and a pod's table of mostly unused names would be resident whole.
#ifndef POD_REGION_H
#define POD_REGION_H

#include <sys/mman.h>

// Regions of this size begin where large pages do, so that they can have them.
#define POD_REGION_LARGE (2ul << 20)

// In front of the region; it keeps the alignment of a cache line.
struct pod_region {
  unsigned long size;
  unsigned long reserved[7];
};

static inline void *pod_region_allocate(unsigned long size) {
  size += sizeof(struct pod_region);
  unsigned long spare = size < POD_REGION_LARGE ? 0 : POD_REGION_LARGE;
  char *start = (char *)mmap(0, size + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
  if (start == (char *)MAP_FAILED) return 0;
  if (spare) {
    unsigned long before = (POD_REGION_LARGE - (unsigned long)start % POD_REGION_LARGE) % POD_REGION_LARGE;
    if (before) munmap(start, before);
    start += before;
    unsigned long after = (size + 0xFFFF) & ~0xFFFFul;
    if (after < size + spare - before) munmap(start + after, size + spare - before - after);
  }
  struct pod_region *region = (struct pod_region *)start;
  region->size = size;
  return region + 1;
}

// The region is used in earnest: each look-up in it would miss the translation buffer. Asks for large pages: at once for
// its first `used` bytes, and for the rest when it is touched. A system that has none does nothing.
static inline void pod_region_use_large_pages(void *region, unsigned long used) {
#ifdef MADV_HUGEPAGE
  struct pod_region *start = (struct pod_region *)region - 1;
  if (start->size < POD_REGION_LARGE) return;
  madvise(start, start->size, MADV_HUGEPAGE);
  used -= used % POD_REGION_LARGE;
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 // Linux 6.1; older ones answer EINVAL
#endif
  if (used) madvise(start, used, MADV_COLLAPSE);
#else
  (void)region;
  (void)used;
#endif
}

static inline void pod_region_free(void *region) {
  if (!region) return;
  struct pod_region *start = (struct pod_region *)region - 1;
  munmap(start, start->size);
}

#endif
