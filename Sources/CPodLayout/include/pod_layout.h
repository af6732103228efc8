// The one definition of the tables of names: read and written by Swift (Namespace.swift) and, later, read by the code
// that is mapped into pod processes. Plain integers and __atomic builtins only, no pointers inside the region, no libc.
//
// Region: header | virtual buckets | physical buckets | entries. Slot 0 is no entry: a bucket or link of 0 ends a chain.
// One writer at a time (the owner's lock); readers take no lock: a hit is validated by the entry's own sequence, a miss
// by the table's chain sequence (odd while a chain is being changed).
#ifndef POD_LAYOUT_H
#define POD_LAYOUT_H

#include <stdint.h>

#define POD_TABLE_MAGIC 0x31646f70u // "pod1"
#define POD_TABLE_HEADER_SIZE 64u

// The life of an entry. Numbers are stable: they are in shared memory and in snapshots.
enum pod_entry_state {
  POD_ENTRY_FREE = 0,
  POD_ENTRY_ALLOCATED = 1, // init-pending: a virtual name without a physical one
  POD_ENTRY_LIVE = 2,
  POD_ENTRY_DYING = 3, // the object is gone or going; the name is kept while somebody may still show it
};

enum pod_entry_flags {
  POD_ENTRY_REAPED = 1u << 0,  // dying, and nobody can wait for it any more
  POD_ENTRY_THREAD = 1u << 1,  // not a thread-group leader
  POD_ENTRY_LEASED = 1u << 2,  // allocated in advance for a holder outside the supervisor
  POD_ENTRY_CHOSEN = 1u << 3,  // the number was asked for (restore), not chosen by the policy
  POD_ENTRY_FILTERED = 1u << 4,  // has filters of its own, which look at the calls of the code in it
};

// 48 bytes; with its buckets an entry costs 58.
struct pod_entry {
  uint32_t sequence; // odd while the writer changes the entry
  uint8_t state;
  uint8_t flags;
  uint16_t holds; // transactions in flight that refer to the entry
  int32_t virtual_name;
  int32_t physical_name;
  uint32_t next_virtual;
  uint32_t next_physical; // doubles as the free list's link
  // The resource's own words. A process: order of birth, parent, group, session. A thread: process, order of birth.
  // While the name is leased, the first is the lessee.
  int32_t links[4];
  uint32_t uses; // other objects that show this number (group and session members)
  // What the kernel never gives again, unlike the number: of a process, the lower half of its pidfds' inode. 0 for unknown.
  uint32_t identity;
};

struct pod_table {
  uint32_t magic;
  uint32_t capacity;       // entries, without slot 0
  uint32_t virtual_buckets;
  uint32_t chain_sequence; // odd while a chain is changed
  uint32_t count;          // entries that are not free
  uint32_t watermark;      // highest slot ever used
  uint32_t free_head;      // given-back slots
  uint32_t pod;            // the pod's number
  uint32_t physical_buckets;
  uint32_t entries;        // where they begin, in bytes
  uint32_t births;         // how many tasks have got their names; it wraps around
  uint32_t reserved[5];
};

// The pod gives out numbers in a row, of which no two share one of so many buckets. The kernel gives the numbers of all
// its processes, among which the pod's may be scattered: a few more, since a look-up that has to go on along its chain
// costs as much as two.
static inline uint32_t pod_table_virtual_buckets_for(uint32_t capacity) {
  return capacity < 16 ? 16 : capacity;
}

static inline uint32_t pod_table_physical_buckets_for(uint32_t capacity) {
  return capacity < 16 ? 16 : capacity + capacity / 2;
}

static inline uint64_t pod_table_size(uint32_t capacity) {
  return POD_TABLE_HEADER_SIZE + 4ull * pod_table_virtual_buckets_for(capacity) +
         4ull * pod_table_physical_buckets_for(capacity) +
         (uint64_t)sizeof(struct pod_entry) * (capacity + 1ull);
}

// The region must be zeroed.
static inline void pod_table_format(struct pod_table *table, uint32_t capacity, uint32_t pod) {
  table->magic = POD_TABLE_MAGIC;
  table->capacity = capacity;
  table->virtual_buckets = pod_table_virtual_buckets_for(capacity);
  table->physical_buckets = pod_table_physical_buckets_for(capacity);
  table->entries = POD_TABLE_HEADER_SIZE + 4u * (table->virtual_buckets + table->physical_buckets);
  table->pod = pod;
}

static inline uint32_t *pod_table_virtual_bucket(const struct pod_table *table, int32_t name) {
  return (uint32_t *)((char *)table + POD_TABLE_HEADER_SIZE) + (uint32_t)name % table->virtual_buckets;
}

static inline uint32_t *pod_table_physical_bucket(const struct pod_table *table, int32_t name) {
  return (uint32_t *)((char *)table + POD_TABLE_HEADER_SIZE) + table->virtual_buckets +
         (uint32_t)name % table->physical_buckets;
}

static inline struct pod_entry *pod_table_entry(const struct pod_table *table, uint32_t slot) {
  return (struct pod_entry *)((char *)table + table->entries) + slot;
}

// ---- readers, without a lock

// What a reader sees of an entry at one moment.
struct pod_entry_view {
  uint32_t slot; // 0: no such name
  uint8_t state;
  uint8_t flags;
  int32_t virtual_name;
  int32_t physical_name;
  int32_t links[4];
  uint32_t identity;
};

static inline struct pod_entry_view pod_entry_read(const struct pod_table *table, uint32_t slot) {
  const struct pod_entry *entry = pod_table_entry(table, slot);
  struct pod_entry_view view;
  uint32_t before, after;
  do {
    before = __atomic_load_n(&entry->sequence, __ATOMIC_ACQUIRE);
    view.slot = slot;
    view.state = __atomic_load_n(&entry->state, __ATOMIC_RELAXED);
    view.flags = __atomic_load_n(&entry->flags, __ATOMIC_RELAXED);
    view.virtual_name = __atomic_load_n(&entry->virtual_name, __ATOMIC_RELAXED);
    view.physical_name = __atomic_load_n(&entry->physical_name, __ATOMIC_RELAXED);
    for (int i = 0; i < 4; i++) view.links[i] = __atomic_load_n(&entry->links[i], __ATOMIC_RELAXED);
    view.identity = __atomic_load_n(&entry->identity, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    after = __atomic_load_n(&entry->sequence, __ATOMIC_RELAXED);
  } while (before != after || (before & 1));
  return view;
}

// The entry of a virtual name, in any state but free; slot 0 when there is none.
static inline struct pod_entry_view pod_table_find_virtual(const struct pod_table *table, int32_t name) {
  for (;;) {
    uint32_t chain = __atomic_load_n(&table->chain_sequence, __ATOMIC_ACQUIRE);
    uint32_t slot = __atomic_load_n(pod_table_virtual_bucket(table, name), __ATOMIC_ACQUIRE);
    for (uint32_t steps = 0; slot != 0 && slot <= table->capacity && steps <= table->capacity; steps++) {
      struct pod_entry_view view = pod_entry_read(table, slot);
      if (view.virtual_name == name && view.state != POD_ENTRY_FREE) return view;
      slot = __atomic_load_n(&pod_table_entry(table, slot)->next_virtual, __ATOMIC_ACQUIRE);
    }
    if (!(chain & 1) && __atomic_load_n(&table->chain_sequence, __ATOMIC_ACQUIRE) == chain) {
      struct pod_entry_view none = {0};
      return none;
    }
  }
}

// Which of several entries with one physical name is meant: the kernel reuses a number as soon as it was reaped, while
// the old entry may still be waiting for the wait call that reaped it.
enum pod_physical_choice {
  POD_PHYSICAL_CURRENT = 0, // live, else the newest: a reaped leader's number still names its group
  POD_PHYSICAL_OLDEST_DYING = 1, // the oldest dying one that was not reaped
};

static inline struct pod_entry_view pod_table_find_physical(const struct pod_table *table, int32_t name,
                                                            enum pod_physical_choice choice) {
  for (;;) {
    struct pod_entry_view found = {0};
    uint32_t chain = __atomic_load_n(&table->chain_sequence, __ATOMIC_ACQUIRE);
    uint32_t slot = __atomic_load_n(pod_table_physical_bucket(table, name), __ATOMIC_ACQUIRE);
    for (uint32_t steps = 0; slot != 0 && slot <= table->capacity && steps <= table->capacity; steps++) {
      struct pod_entry_view view = pod_entry_read(table, slot);
      if (view.physical_name == name && view.state != POD_ENTRY_FREE) {
        if (choice == POD_PHYSICAL_CURRENT) {
          if (view.state == POD_ENTRY_LIVE) return view;
          if (found.slot == 0) found = view; // chains are newest first
        } else if (view.state == POD_ENTRY_DYING && !(view.flags & POD_ENTRY_REAPED)) {
          found = view;
        }
      }
      slot = __atomic_load_n(&pod_table_entry(table, slot)->next_physical, __ATOMIC_ACQUIRE);
    }
    if (!(chain & 1) && __atomic_load_n(&table->chain_sequence, __ATOMIC_ACQUIRE) == chain) return found;
  }
}

// The translations alone, for those who need no more. They look at the first entries of a chain in as few instructions as
// possible: the fewer, the more look-ups a processor has under way while it waits for memory.

// The whole chain.
static __attribute__((noinline)) int32_t pod_table_search_physical_of(const struct pod_table *table, int32_t name) {
  for (;;) {
    uint32_t chain = __atomic_load_n(&table->chain_sequence, __ATOMIC_ACQUIRE);
    uint32_t slot = __atomic_load_n(pod_table_virtual_bucket(table, name), __ATOMIC_ACQUIRE);
    for (uint32_t steps = 0; slot != 0 && slot <= table->capacity && steps <= table->capacity; steps++) {
      const struct pod_entry *entry = pod_table_entry(table, slot);
      for (;;) {
        uint32_t before = __atomic_load_n(&entry->sequence, __ATOMIC_ACQUIRE);
        int32_t found = __atomic_load_n(&entry->virtual_name, __ATOMIC_RELAXED);
        int32_t physical = __atomic_load_n(&entry->physical_name, __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (found != name) break;
        if (__atomic_load_n(&entry->sequence, __ATOMIC_RELAXED) == before && !(before & 1)) return physical;
      }
      slot = __atomic_load_n(&entry->next_virtual, __ATOMIC_ACQUIRE);
    }
    if (!(chain & 1) && __atomic_load_n(&table->chain_sequence, __ATOMIC_ACQUIRE) == chain) return 0;
  }
}

// The whole chain.
static __attribute__((noinline)) int32_t pod_table_search_virtual_of(const struct pod_table *table, int32_t name) {
  for (;;) {
    int32_t newest = 0;
    uint32_t chain = __atomic_load_n(&table->chain_sequence, __ATOMIC_ACQUIRE);
    uint32_t slot = __atomic_load_n(pod_table_physical_bucket(table, name), __ATOMIC_ACQUIRE);
    for (uint32_t steps = 0; slot != 0 && slot <= table->capacity && steps <= table->capacity; steps++) {
      const struct pod_entry *entry = pod_table_entry(table, slot);
      for (;;) {
        uint32_t before = __atomic_load_n(&entry->sequence, __ATOMIC_ACQUIRE);
        int32_t found = __atomic_load_n(&entry->physical_name, __ATOMIC_RELAXED);
        int32_t virtual_name = __atomic_load_n(&entry->virtual_name, __ATOMIC_RELAXED);
        uint8_t state = __atomic_load_n(&entry->state, __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (found != name) break;
        if (__atomic_load_n(&entry->sequence, __ATOMIC_RELAXED) != before || (before & 1)) continue;
        if (state == POD_ENTRY_LIVE) return virtual_name;
        if (newest == 0) newest = virtual_name;
        break;
      }
      slot = __atomic_load_n(&entry->next_physical, __ATOMIC_ACQUIRE);
    }
    if (!(chain & 1) && __atomic_load_n(&table->chain_sequence, __ATOMIC_ACQUIRE) == chain) return newest;
  }
}

// The physical name behind a virtual one; 0 when there is no such name, or nothing behind it yet.
static inline int32_t pod_table_physical_of(const struct pod_table *table, int32_t name) {
  uint32_t slot = __atomic_load_n(pod_table_virtual_bucket(table, name), __ATOMIC_ACQUIRE);
  for (int look = 0; look < 3; look++) {
    const struct pod_entry *entry = pod_table_entry(table, slot); // slot 0 has no names
    uint32_t before = __atomic_load_n(&entry->sequence, __ATOMIC_ACQUIRE);
    int32_t found = __atomic_load_n(&entry->virtual_name, __ATOMIC_RELAXED);
    int32_t physical = __atomic_load_n(&entry->physical_name, __ATOMIC_RELAXED);
    slot = __atomic_load_n(&entry->next_virtual, __ATOMIC_ACQUIRE);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    uint32_t changes = (before ^ __atomic_load_n(&entry->sequence, __ATOMIC_RELAXED)) | (before & 1);
    if (__builtin_expect((changes | (uint32_t)(found ^ name)) == 0, 1)) return physical;
  }
  return pod_table_search_physical_of(table, name);
}

// The virtual name behind a physical one, as POD_PHYSICAL_CURRENT; 0 when there is none.
static inline int32_t pod_table_virtual_of(const struct pod_table *table, int32_t name) {
  uint32_t slot = __atomic_load_n(pod_table_physical_bucket(table, name), __ATOMIC_ACQUIRE);
  for (int look = 0; look < 3; look++) {
    const struct pod_entry *entry = pod_table_entry(table, slot);
    uint32_t before = __atomic_load_n(&entry->sequence, __ATOMIC_ACQUIRE);
    int32_t found = __atomic_load_n(&entry->physical_name, __ATOMIC_RELAXED);
    int32_t virtual_name = __atomic_load_n(&entry->virtual_name, __ATOMIC_RELAXED);
    uint32_t state = __atomic_load_n(&entry->state, __ATOMIC_RELAXED);
    slot = __atomic_load_n(&entry->next_physical, __ATOMIC_ACQUIRE);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    uint32_t changes = (before ^ __atomic_load_n(&entry->sequence, __ATOMIC_RELAXED)) | (before & 1);
    if (__builtin_expect((changes | (uint32_t)(found ^ name) | (state ^ POD_ENTRY_LIVE)) == 0, 1))
      return virtual_name;
  }
  return pod_table_search_virtual_of(table, name);
}

// ---- the writer, under the owner's lock

// Whether a transaction holds any of the entries with a physical name. Under the owner's lock, since holds are the
// writer's.
static inline int pod_table_is_physical_held(const struct pod_table *table, int32_t name) {
  uint32_t slot = *pod_table_physical_bucket(table, name);
  for (; slot != 0; slot = pod_table_entry(table, slot)->next_physical) {
    const struct pod_entry *entry = pod_table_entry(table, slot);
    if (entry->physical_name == name && entry->holds != 0) return 1;
  }
  return 0;
}

static inline void pod_table_set_births(struct pod_table *table, uint32_t births) {
  __atomic_store_n(&table->births, births, __ATOMIC_RELEASE);
}

static inline void pod_entry_begin(struct pod_entry *entry) {
  __atomic_store_n(&entry->sequence, entry->sequence + 1, __ATOMIC_RELAXED);
  __atomic_thread_fence(__ATOMIC_RELEASE);
}

static inline void pod_entry_end(struct pod_entry *entry) {
  __atomic_store_n(&entry->sequence, entry->sequence + 1, __ATOMIC_RELEASE);
}

static inline void pod_chain_begin(struct pod_table *table) {
  __atomic_store_n(&table->chain_sequence, table->chain_sequence + 1, __ATOMIC_RELAXED);
  __atomic_thread_fence(__ATOMIC_RELEASE);
}

static inline void pod_chain_end(struct pod_table *table) {
  __atomic_store_n(&table->chain_sequence, table->chain_sequence + 1, __ATOMIC_RELEASE);
}

static inline void pod_entry_set_state(struct pod_entry *entry, uint8_t state, uint8_t flags) {
  pod_entry_begin(entry);
  __atomic_store_n(&entry->state, state, __ATOMIC_RELAXED);
  __atomic_store_n(&entry->flags, flags, __ATOMIC_RELAXED);
  pod_entry_end(entry);
}

// Who the process behind the entry is, for as long as it is bound to its physical name.
static inline void pod_entry_set_identity(struct pod_entry *entry, uint32_t identity) {
  pod_entry_begin(entry);
  __atomic_store_n(&entry->identity, identity, __ATOMIC_RELAXED);
  pod_entry_end(entry);
}

static inline void pod_entry_set_link(struct pod_entry *entry, uint32_t index, int32_t value) {
  pod_entry_begin(entry);
  __atomic_store_n(&entry->links[index & 3], value, __ATOMIC_RELAXED);
  pod_entry_end(entry);
}

// Takes a free slot and publishes it as allocated under the virtual name; 0 when the table is full.
static inline uint32_t pod_table_allocate(struct pod_table *table, int32_t name, uint8_t flags) {
  uint32_t slot = table->free_head;
  if (slot != 0)
    table->free_head = pod_table_entry(table, slot)->next_physical;
  else if (table->watermark < table->capacity)
    slot = ++table->watermark;
  else
    return 0;
  struct pod_entry *entry = pod_table_entry(table, slot);
  uint32_t *bucket = pod_table_virtual_bucket(table, name);
  pod_entry_begin(entry);
  __atomic_store_n(&entry->virtual_name, name, __ATOMIC_RELAXED);
  __atomic_store_n(&entry->physical_name, 0, __ATOMIC_RELAXED);
  __atomic_store_n(&entry->state, POD_ENTRY_ALLOCATED, __ATOMIC_RELAXED);
  __atomic_store_n(&entry->flags, flags, __ATOMIC_RELAXED);
  for (int i = 0; i < 4; i++) __atomic_store_n(&entry->links[i], 0, __ATOMIC_RELAXED);
  __atomic_store_n(&entry->identity, 0, __ATOMIC_RELAXED);
  entry->holds = 0;
  entry->uses = 0;
  pod_entry_end(entry);
  pod_chain_begin(table);
  __atomic_store_n(&entry->next_physical, 0, __ATOMIC_RELAXED);
  __atomic_store_n(&entry->next_virtual, *bucket, __ATOMIC_RELAXED);
  __atomic_store_n(bucket, slot, __ATOMIC_RELEASE);
  pod_chain_end(table);
  table->count++;
  return slot;
}

static inline void pod_table_unlink_physical(struct pod_table *table, uint32_t slot) {
  struct pod_entry *entry = pod_table_entry(table, slot);
  uint32_t *link = pod_table_physical_bucket(table, entry->physical_name);
  while (*link != 0 && *link != slot) link = &pod_table_entry(table, *link)->next_physical;
  if (*link == 0) return;
  pod_chain_begin(table);
  __atomic_store_n(link, entry->next_physical, __ATOMIC_RELEASE);
  pod_chain_end(table);
}

// Gives the entry a physical name and makes it live.
static inline void pod_table_bind(struct pod_table *table, uint32_t slot, int32_t physical) {
  struct pod_entry *entry = pod_table_entry(table, slot);
  uint32_t *bucket = pod_table_physical_bucket(table, physical);
  if (entry->physical_name != 0) pod_table_unlink_physical(table, slot);
  pod_entry_begin(entry);
  __atomic_store_n(&entry->physical_name, physical, __ATOMIC_RELAXED);
  __atomic_store_n(&entry->identity, 0, __ATOMIC_RELAXED);
  __atomic_store_n(&entry->state, POD_ENTRY_LIVE, __ATOMIC_RELAXED);
  pod_entry_end(entry);
  pod_chain_begin(table);
  __atomic_store_n(&entry->next_physical, *bucket, __ATOMIC_RELAXED);
  __atomic_store_n(bucket, slot, __ATOMIC_RELEASE);
  pod_chain_end(table);
}

static inline void pod_table_free(struct pod_table *table, uint32_t slot) {
  struct pod_entry *entry = pod_table_entry(table, slot);
  uint32_t *link = pod_table_virtual_bucket(table, entry->virtual_name);
  while (*link != 0 && *link != slot) link = &pod_table_entry(table, *link)->next_virtual;
  if (*link == slot) {
    pod_chain_begin(table);
    __atomic_store_n(link, entry->next_virtual, __ATOMIC_RELEASE);
    pod_chain_end(table);
  }
  if (entry->physical_name != 0) pod_table_unlink_physical(table, slot);
  pod_entry_begin(entry);
  __atomic_store_n(&entry->state, POD_ENTRY_FREE, __ATOMIC_RELAXED);
  __atomic_store_n(&entry->virtual_name, 0, __ATOMIC_RELAXED);
  __atomic_store_n(&entry->physical_name, 0, __ATOMIC_RELAXED);
  pod_entry_end(entry);
  __atomic_store_n(&entry->next_physical, table->free_head, __ATOMIC_RELAXED);
  table->free_head = slot;
  table->count--;
}

#endif
