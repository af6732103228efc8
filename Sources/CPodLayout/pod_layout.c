#include "pod_layout.h"
#include "pod_region.h"
