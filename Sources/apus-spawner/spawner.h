// apus-spawner: the first process of every pod on a node. See main.c for the whole story.
#ifndef APUS_SPAWNER_H
#define APUS_SPAWNER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../CLinux/include/apus_protocol.h"

/* The descriptors of one SPAWN, by purpose; -1 where there is none. */
struct pod_descriptors {
  int cgroups[APUS_CGROUPS_MAX];
  int root, code, out, err, listener, frames, control, secrets;
};

/* What a pod writes to its status pipe: at most two of these. */
struct pod_report {
  uint32_t kind;
  uint32_t step;
  int32_t code;
};
enum { REPORT_FAILED = 1, REPORT_EXECUTED = 2, REPORT_ENDED = 3 };

/* template.c: leaves the host's files behind; every pod starts as a copy of what this builds. */
int template_enter(void);
int template_passwd(uint32_t slot, uint32_t uid);

/* filter.c: builds the system call filter once, and puts it on the calling process. */
int filter_build(void);
int filter_install(void);

/* pod.c: the life of a pod from clone to exec; never returns. */
void pod_main(const struct apus_spawn *spawn, const struct pod_descriptors *given, int status);

/* init.c: process 1 of the pod; runs the command, reaps, passes signals on; never returns. */
void init_main(const struct apus_spawn *spawn, const struct pod_descriptors *given, int status);

/* pod.c: says where a start failed and ends this process. */
__attribute__((noreturn)) void pod_fail(int status, enum apus_step step);

/* Paths inside the template. */
#define TEMPLATE_ROOT "/new"
#define TEMPLATE_DEV "/dev"
#define TEMPLATE_PASSWD "/passwd"

#endif
