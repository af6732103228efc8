#ifndef CPODVDSO_H
#define CPODVDSO_H

#include "pod_launch.h"

// The pod's process 1 as an ELF file: a static x86-64 program without a libc. `make page` generates
// it from Sources/CPodVDSO/init.
extern const unsigned char CPodVDSO_init_image[];
extern const unsigned long CPodVDSO_init_image_size;

// Swift does not import an array without a size.
static inline const unsigned char *CPodVDSO_init_image_bytes(void) { return CPodVDSO_init_image; }

// The code of the pod area (pod_page.h), flat and position-independent, from Sources/CPodVDSO/page.
extern const unsigned char CPodVDSO_page_image[];
extern const unsigned long CPodVDSO_page_image_size;

static inline const unsigned char *CPodVDSO_page_image_bytes(void) { return CPodVDSO_page_image; }

#endif
