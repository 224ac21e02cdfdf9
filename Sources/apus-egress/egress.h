#ifndef APUS_EGRESS_PROGRAM_H
#define APUS_EGRESS_PROGRAM_H

#include <stdint.h>

/* filter.c: from here on only what carrying packets takes; 0 or -1. */
int filter_install(void);

/* routes.c: a socket to ask the kernel's routes; -1 with errno. */
int routes_open(void);
/* routes.c: whether this host sends to an address (host byte order) by its routes, and not to itself. */
int routes_lead_away(int routes, uint32_t address);

/* The clock of timers, nanoseconds. */
int64_t monotonic_ns(void);

#endif
