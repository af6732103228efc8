#ifndef CSECCOMP_SHIM_H
#define CSECCOMP_SHIM_H

// libseccomp: names and numbers of calls, architectures, sizes of notifications. Debian: libseccomp-dev.
#include <seccomp.h>

#endif
