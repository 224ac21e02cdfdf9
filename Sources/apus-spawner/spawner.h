// apus-spawner: see main.c for the whole story.
#ifndef APUS_SPAWNER_H
#define APUS_SPAWNER_H

#include "../CSandbox/include/csandbox.h"

/* Events of zygote i have this number and i more; those of pods and of the spawner itself are lower. */
#define EVENT_ZYGOTES (2u * APUS_PODS_MAX)

extern int events; /* the one epoll */
void tell(struct apus_reply *message, int descriptor);
void tell_failed(uint32_t slot, uint64_t ticket, uint32_t step, int code);

/* main.c: a zygote told of a pod it was asked for, or that there is none (pid 0 or less). */
void pod_made(uint64_t ticket, pid_t pid, int pidfd, uint32_t step, int code);
/* main.c: a zygote is gone; what it was asked for and did not tell of will not come. */
void zygote_lost(uint64_t zygote);

/* zygotes.c */
void zygote_start(const struct apus_zygote *zygote, int root);
void zygote_retire(uint64_t ticket);
int zygote_spawn(const struct apus_spawn *spawn, const uint8_t *message, const int *descriptors, size_t count);
/* Hears one message; 0 when there is none. */
int zygote_listen(uint32_t index);
/* Reaps zygotes that closed their sockets, each by its number. */
void zygotes_reap(void);
/* Whether this process, which is reaped, was a zygote. */
int zygote_ended(pid_t pid);

#endif
