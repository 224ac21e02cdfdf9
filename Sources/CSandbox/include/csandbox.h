// The making of one pod, shared by those who make pods: apus-spawner, and the zygotes it starts. See apus-spawner/main.c
// for the whole story.
#ifndef APUS_SANDBOX_H
#define APUS_SANDBOX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../../CLinux/include/apus_protocol.h"

/* The descriptors of one SPAWN, by purpose; -1 where there is none. */
struct pod_descriptors {
  int cgroups[APUS_CGROUPS_MAX];
  int bind, root, out, err, listener, frames, control, status, passwd;
};

/* What a pod writes to its status pipe, each at most once, in this order; FAILED instead of any of them. */
struct pod_report {
  uint32_t kind;
  uint32_t step;
  int32_t code;
  uint64_t at; /* CLOCK_MONOTONIC, ns */
};
enum { REPORT_FAILED = 1, REPORT_STANDS = 2, REPORT_BOUND = 3, REPORT_ENDED = 4 };

/* template.c: leaves the host's files behind; every pod starts as a copy of what this builds. */
int template_enter(void);
int template_passwd(uint32_t slot, uint32_t uid);

/* pod.c: makes a detached mount the root of the calling process's mount namespace, with the template's /dev. */
int root_enter(int tree, int writable, enum apus_step *step);

/* filter.c: builds the system call filter once, and puts it on the calling process. */
int filter_build(void);
int filter_install(int own_root);

/* message.c: CLOCK_MONOTONIC in nanoseconds. */
uint64_t now_ns(void);
/* message.c: receives one message with its descriptors; its length, 0 at the end, -1 with errno. After EMSGSIZE and EMFILE
   (it was longer, or this process has no descriptor left) the head of the message is there, to be answered. `capacity` is
   at least that of a head. */
ssize_t message_receive(int socket, void *bytes, size_t capacity, int flags, int *descriptors, size_t *count);
/* Gives each descriptor of a SPAWN its purpose, in the order the protocol fixes. */
struct pod_descriptors message_sort(const struct apus_spawn *spawn, const int *received);
/* Sends one reply, with a descriptor or -1; 0 or -1. */
int message_reply(int socket, struct apus_reply *reply, int descriptor);
void close_all(const int *descriptors, size_t count);

/* pod.c: new namespaces for mounts, processes, network, System V objects and host name; on cgroup v2 born in its group.
   `flags` are added. As fork: 0 in the pod. */
pid_t pod_clone(const struct apus_spawn *spawn, const struct pod_descriptors *given, uint64_t flags, int *pidfd);

/* pod.c: the life of a pod from clone to its end. `shed` is NULL, or the caller is a zygote's fork: then a second process
   returns, unprivileged and in its place, which is to wait for its payload, and the first calls `shed` once nobody waits
   for it, to give back the memory that only the second one needs. */
void pod_main(const struct apus_spawn *spawn, struct pod_descriptors *given, void (*shed)(void));

/* pod.c: gives up every privilege for good. */
void drop_privileges(uint32_t user, uint32_t group, int status);
/* pod.c: what BIND adds to the standing pod. */
void bind_mounts(const struct apus_spawn *spawn, const struct apus_bind *bind, int code, int secrets, int status);
/* pod.c: the limits of the pod's command: of process `pid`, 0 for the caller. */
void set_limits(const struct apus_bind *bind, pid_t pid, int status);
/* pod.c: says where a start failed and ends this process. */
__attribute__((noreturn)) void pod_fail(int status, enum apus_step step);

/* init.c: process 1 of the pod: starts the warm command if there is one, waits for BIND, runs or tells the command,
   reaps, passes signals on. Returns only in a forked warm command. */
void init_main(const struct apus_spawn *spawn, struct pod_descriptors *given, void (*shed)(void));

/* open_tree(2), which glibc of Debian 12 names in a header that excludes others we need. */
#define TREE_CLONE 1u

/* Paths inside the template. */
#define TEMPLATE_ROOT "/new"
#define TEMPLATE_DEV "/dev"
#define TEMPLATE_PASSWD "/passwd"
#define TEMPLATE_PROC "/proc" /* only where root is that of a user namespace */

#endif
