// What a worker, its spawner and a pod's first process say to each other over SOCK_SEQPACKET sockets: one message a
// packet, fixed fields in host byte order (all are on one machine, built together), strings as NUL-terminated bytes.
//
//   worker → spawner   SPAWN    makes a pod that waits: struct apus_spawn_head, then the warm command's argv…, envp….
//                               Descriptors by SCM_RIGHTS in this order: cgroups, then one for each APUS_FD_* flag
//                               set, lowest bit first.
//                      ZYGOTE   starts a process that pods may be forked from: struct apus_zygote_head, argv…, envp….
//                               Descriptor: its root. The ticket names it.
//                      RETIRE   ends a zygote; its pods live on. struct apus_head
//   worker → pod       BIND     over the socket that came with SPAWN: what the pod is. struct apus_bind_head, then: host
//                               name, working directory, argv…, envp…, then per secret its length (uint32_t, unaligned) and its path.
//                               Descriptors: one for each APUS_FD_* flag set. The socket's end instead of a message is
//                               the pod's end.
//   spawner → worker   READY    once, when the template namespace stands; with a ticket: that zygote serves
//                      STARTED  the pod stands and waits for BIND; its pidfd comes along
//                      FAILED   nothing runs; `step` (enum apus_step) and errno in `code`. Ticket 0: the spawner itself
//                      BOUND    the command runs (was executed, or told what it is)
//                      EXITED   once for each STARTED: wait status in `code`, CPU and memory in the figures; or, when it
//                               failed after BIND, `step` and errno
//                      GONE     a zygote ended
//
// The decoders trust nothing: they are the only code that reads bytes from outside in processes that keep root.
#ifndef APUS_PROTOCOL_H
#define APUS_PROTOCOL_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define APUS_MAGIC 0x31535041u /* "APS1" */
#define APUS_VERSION 2u
#define APUS_MESSAGE_MAX 131072u /* bytes; fits the default socket buffer */
#define APUS_ARGUMENTS_MAX 256u
#define APUS_ENVIRONMENT_MAX 512u
#define APUS_SECRETS_MAX 64u
#define APUS_SECRET_PATH_MAX 255u
#define APUS_SECRET_BYTES_MAX 1048576u
#define APUS_SECRETS_BYTES_MAX 4194304u
#define APUS_HOSTNAME_MAX 63u
#define APUS_DIRECTORY_MAX 1023u
#define APUS_CGROUPS_MAX 4u
#define APUS_DESCRIPTORS_MAX 16u
#define APUS_PODS_MAX 8192u    /* at once, in one spawner */
#define APUS_ZYGOTES_MAX 64u   /* at once, in one spawner */
#define APUS_SLOT_MAX 59999u
#define APUS_UID_MIN 100000u   /* nobody the host knows is up there */
#define APUS_OPEN_FILES_MIN 16u
#define APUS_SOCKET_FD 3       /* where the spawner and its zygotes find their socket */
#define APUS_PAYLOAD_FD 6      /* where a warm command reads what it is: a length (uint32_t), then its environment */

enum apus_message {
  APUS_SPAWN = 1,
  APUS_READY = 2,
  APUS_STARTED = 3,
  APUS_FAILED = 4,
  APUS_EXITED = 5,
  APUS_BIND = 6,
  APUS_BOUND = 7,
  APUS_ZYGOTE = 8,
  APUS_RETIRE = 9,
  APUS_GONE = 10,
};

enum apus_flag {
  APUS_SECCOMP = 1u << 0,      /* install the filter; off in tests only */
  APUS_CGROUP_V2 = 1u << 1,    /* the one cgroup descriptor is a directory for CLONE_INTO_CGROUP */
  APUS_ROOT_WRITABLE = 1u << 2, /* SPAWN: the root takes writes (an overlay over memory); else it is made read-only */
  APUS_HOST_NETWORK = 1u << 3, /* SPAWN: it stays in the host's network namespace: what carries another pod's packets */
  APUS_OWN_ROOT = 1u << 4,     /* SPAWN: no other pod sees the files of its root */
  APUS_FD_BIND = 1u << 8,      /* SPAWN: the socket on which BIND comes; required */
  APUS_FD_ROOT = 1u << 9,      /* SPAWN: a detached mount for /; absent when a zygote makes the pod: its own root */
  APUS_FD_STDOUT = 1u << 10,
  APUS_FD_STDERR = 1u << 11,
  APUS_FD_LISTENER = 1u << 12, /* becomes 3 */
  APUS_FD_FRAMES = 1u << 13,   /* becomes 4 */
  APUS_FD_CONTROL = 1u << 14,  /* becomes 5 */
  APUS_FD_CODE = 1u << 15,     /* BIND: a detached mount for /function */
  APUS_FD_SECRETS = 1u << 16,  /* BIND: a memory file with the secrets' bytes, one after the other */
  APUS_FD_STATUS = 1u << 17,   /* spawner to zygote: where the pod reports */
  APUS_FD_PASSWD = 1u << 18,   /* spawner to zygote: a detached mount for /etc/passwd */
};
#define APUS_FLAGS_SPAWN 0x67f1fu /* what a SPAWN may have; the last two only on the way to a zygote */
#define APUS_FLAGS_BIND (APUS_FD_CODE | APUS_FD_SECRETS)
#define APUS_FLAGS_FD 0x7ff00u

/* What a pod may write to its control pipe before its function is loaded, which any other byte tells. */
enum apus_control {
  APUS_CONTROL_WAITS = 'w',  /* a warm command waits for its function */
  APUS_CONTROL_BEGINS = 's', /* its command begins: with the time, CLOCK_MONOTONIC in ns, as 16 hexadecimal digits */
};

/* Where a start failed. Swift has a sentence for each (SandboxStep). */
enum apus_step {
  APUS_STEP_NONE = 0,
  APUS_STEP_MESSAGE = 1,
  APUS_STEP_CAPACITY = 2,
  APUS_STEP_TEMPLATE = 3,
  APUS_STEP_CLONE = 4,
  APUS_STEP_CGROUP = 5,
  APUS_STEP_ROOT = 6,
  APUS_STEP_CODE = 7,
  APUS_STEP_DEV = 8,
  APUS_STEP_TMP = 9,
  APUS_STEP_PROC = 10,
  APUS_STEP_SECRETS = 11,
  APUS_STEP_PIVOT = 12,
  APUS_STEP_HOSTNAME = 13,
  APUS_STEP_LOOPBACK = 14,
  APUS_STEP_LIMITS = 15,
  APUS_STEP_CAPABILITIES = 16,
  APUS_STEP_IDENTITY = 17,
  APUS_STEP_SECCOMP = 18,
  APUS_STEP_DESCRIPTORS = 19,
  APUS_STEP_FORK = 20,
  APUS_STEP_DIRECTORY = 21,
  APUS_STEP_EXEC = 22,
  APUS_STEP_ZYGOTE = 23,
  APUS_STEP_BIND = 24,
};

/* Why a message was refused. */
enum apus_refusal {
  APUS_OK = 0,
  APUS_BAD_LENGTH = -1,
  APUS_BAD_HEADER = -2,
  APUS_BAD_IDENTITY = -3,
  APUS_BAD_LIMITS = -4,
  APUS_BAD_FLAGS = -5,
  APUS_BAD_DESCRIPTORS = -6,
  APUS_BAD_COUNTS = -7,
  APUS_BAD_STRING = -8,
  APUS_BAD_SECRET = -9,
  APUS_TRAILING_BYTES = -10,
};

struct apus_head {
  uint32_t magic;
  uint16_t version;
  uint16_t type;
  uint32_t length; /* of the whole message */
  uint32_t slot;
  uint64_t ticket; /* chosen by the worker, unique for each pod and zygote, never 0 */
};

struct apus_spawn_head {
  struct apus_head head;
  uint32_t uid;
  uint32_t gid;
  uint32_t flags;
  uint16_t arguments;   /* of the warm command; 0: what BIND names is executed */
  uint16_t environment;
  uint16_t cgroups;
  uint16_t reserved;    /* 0 */
  uint64_t zygote;      /* the zygote that forks it, or 0: the spawner does */
  uint64_t tmp_bytes;
  uint64_t tmp_inodes;
};

struct apus_zygote_head {
  struct apus_head head;
  uint16_t arguments;
  uint16_t environment;
  uint32_t reserved; /* 0 */
};

struct apus_bind_head {
  struct apus_head head;
  uint32_t flags;
  uint32_t open_files;
  uint32_t processes; /* RLIMIT_NPROC where no pids cgroup holds the pod; 0: leave it */
  uint16_t arguments; /* 0 where a warm command waits */
  uint16_t environment;
  uint16_t secrets;
  uint16_t reserved;  /* 0 */
  uint64_t tmp_bytes;
  uint64_t tmp_inodes;
};

struct apus_reply {
  struct apus_head head;
  uint32_t step;
  int32_t code;    /* STARTED: the process number; FAILED: errno; EXITED: wait status, or errno with `step` */
  uint64_t first;  /* STARTED: ns (CLOCK_MONOTONIC) when received · EXITED: CPU µs */
  uint64_t second; /* STARTED: when cloned · EXITED: peak resident KiB */
  uint64_t third;  /* STARTED: when it stood · BOUND: when its command began · EXITED: 1 if the pod's own first process was killed */
};

struct apus_secret {
  const char *path;
  uint32_t length;
};

/* Decoded messages: pointers into the message, which must outlive them. */
struct apus_command {
  const char *arguments[APUS_ARGUMENTS_MAX + 1];
  const char *environment[APUS_ENVIRONMENT_MAX + 1];
};

struct apus_spawn {
  struct apus_spawn_head head;
  struct apus_command command;
};

struct apus_bind {
  struct apus_bind_head head;
  const char *hostname;
  const char *directory; /* absolute */
  struct apus_command command;
  struct apus_secret secrets[APUS_SECRETS_MAX];
};

struct apus_zygote {
  struct apus_zygote_head head;
  struct apus_command command;
};

/* The next NUL-terminated string of at most `limit` bytes, or NULL; moves the cursor behind it. */
static inline const char *apus_take_string(const uint8_t **cursor, const uint8_t *end, size_t limit) {
  size_t room = (size_t)(end - *cursor);
  if (room == 0) return NULL;
  const uint8_t *nul = memchr(*cursor, 0, room);
  if (nul == NULL || (size_t)(nul - *cursor) > limit) return NULL;
  const char *text = (const char *)*cursor;
  *cursor = nul + 1;
  return text;
}

/* One or two names of letters, digits, dot, dash and underscore, none starting with a dot. */
static inline int apus_secret_path_ok(const char *path) {
  int parts = 1, at_start = 1;
  for (const char *c = path; *c != 0; c++) {
    if (*c == '/') {
      if (at_start || ++parts > 2) return 0;
      at_start = 1;
      continue;
    }
    int letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9');
    if (!letter && *c != '-' && *c != '_' && *c != '.') return 0;
    if (at_start && *c == '.') return 0;
    at_start = 0;
  }
  return !at_start;
}

static inline uint32_t apus_count_bits(uint32_t bits) {
  uint32_t count = 0;
  for (; bits != 0; bits &= bits - 1) count++;
  return count;
}

static inline int apus_check_head(const struct apus_head *head, uint16_t type, size_t length) {
  if (head->magic != APUS_MAGIC || head->version != APUS_VERSION || head->type != type) return APUS_BAD_HEADER;
  if (head->length != length) return APUS_BAD_LENGTH;
  if (head->ticket == 0 || head->slot > APUS_SLOT_MAX) return APUS_BAD_HEADER;
  return APUS_OK;
}

static inline int apus_tmp_ok(uint64_t bytes, uint64_t inodes) {
  return bytes != 0 && bytes <= (1ull << 40) && inodes != 0 && inodes <= (1ull << 32);
}

/* `arguments` and `environment` strings; moves the cursor behind them. */
static inline int apus_take_command(const uint8_t **cursor, const uint8_t *end, size_t arguments, size_t environment,
                                    struct apus_command *out) {
  for (size_t i = 0; i < arguments; i++) {
    out->arguments[i] = apus_take_string(cursor, end, APUS_MESSAGE_MAX);
    if (out->arguments[i] == NULL) return APUS_BAD_STRING;
  }
  out->arguments[arguments] = NULL;
  if (arguments > 0 && out->arguments[0][0] == 0) return APUS_BAD_STRING;
  for (size_t i = 0; i < environment; i++) {
    out->environment[i] = apus_take_string(cursor, end, APUS_MESSAGE_MAX);
    if (out->environment[i] == NULL || strchr(out->environment[i], '=') == NULL) return APUS_BAD_STRING;
  }
  out->environment[environment] = NULL;
  return APUS_OK;
}

/// Decodes a SPAWN message that came with `descriptors` descriptors; 0, or an apus_refusal and `out` is worthless.
static inline int apus_decode_spawn(const uint8_t *message, size_t length, size_t descriptors, struct apus_spawn *out) {
  if (length < sizeof out->head || length > APUS_MESSAGE_MAX) return APUS_BAD_LENGTH;
  memcpy(&out->head, message, sizeof out->head);
  const struct apus_spawn_head *head = &out->head;
  int refusal = apus_check_head(&head->head, APUS_SPAWN, length);
  if (refusal != APUS_OK) return refusal;
  if (head->uid < APUS_UID_MIN || head->gid < APUS_UID_MIN || head->uid == UINT32_MAX || head->gid == UINT32_MAX)
    return APUS_BAD_IDENTITY;
  if ((head->flags & ~APUS_FLAGS_SPAWN) != 0 || head->reserved != 0) return APUS_BAD_FLAGS;
  if ((head->flags & APUS_FD_BIND) == 0) return APUS_BAD_FLAGS;
  // Never a fork of a zygote, and never one that waits for a function.
  if ((head->flags & APUS_HOST_NETWORK) != 0 && (head->zygote != 0 || head->arguments != 0)) return APUS_BAD_FLAGS;
  // A zygote's root is that of all its pods.
  if ((head->flags & APUS_OWN_ROOT) != 0 && head->zygote != 0) return APUS_BAD_FLAGS;
  // A pod gets its root either from a descriptor or from the zygote that makes it.
  if (((head->flags & APUS_FD_ROOT) != 0) == (head->zygote != 0)) return APUS_BAD_FLAGS;
  if (!apus_tmp_ok(head->tmp_bytes, head->tmp_inodes)) return APUS_BAD_LIMITS;
  if (head->arguments > APUS_ARGUMENTS_MAX || head->environment > APUS_ENVIRONMENT_MAX ||
      head->cgroups > APUS_CGROUPS_MAX)
    return APUS_BAD_COUNTS;
  if (head->zygote != 0 && head->arguments != 0) return APUS_BAD_COUNTS;
  if ((head->flags & APUS_CGROUP_V2) != 0 && head->cgroups != 1) return APUS_BAD_COUNTS;
  if (descriptors != head->cgroups + apus_count_bits(head->flags & APUS_FLAGS_FD)) return APUS_BAD_DESCRIPTORS;

  const uint8_t *cursor = message + sizeof out->head, *end = message + length;
  refusal = apus_take_command(&cursor, end, head->arguments, head->environment, &out->command);
  if (refusal != APUS_OK) return refusal;
  return cursor == end ? APUS_OK : APUS_TRAILING_BYTES;
}

static inline int apus_take_secrets(const uint8_t **cursor, const uint8_t *end, struct apus_bind *out) {
  uint64_t total = 0;
  for (size_t i = 0; i < out->head.secrets; i++) {
    if ((size_t)(end - *cursor) < sizeof(uint32_t)) return APUS_BAD_SECRET;
    memcpy(&out->secrets[i].length, *cursor, sizeof(uint32_t));
    *cursor += sizeof(uint32_t);
    total += out->secrets[i].length;
    out->secrets[i].path = apus_take_string(cursor, end, APUS_SECRET_PATH_MAX);
    if (out->secrets[i].path == NULL || !apus_secret_path_ok(out->secrets[i].path)) return APUS_BAD_SECRET;
    if (out->secrets[i].length > APUS_SECRET_BYTES_MAX || total > APUS_SECRETS_BYTES_MAX) return APUS_BAD_SECRET;
  }
  return APUS_OK;
}

/// Decodes a BIND message; `warm` says that a command waits already and none may be named.
static inline int apus_decode_bind(const uint8_t *message, size_t length, size_t descriptors, int warm,
                                   struct apus_bind *out) {
  if (length < sizeof out->head || length > APUS_MESSAGE_MAX) return APUS_BAD_LENGTH;
  memcpy(&out->head, message, sizeof out->head);
  const struct apus_bind_head *head = &out->head;
  int refusal = apus_check_head(&head->head, APUS_BIND, length);
  if (refusal != APUS_OK) return refusal;
  if ((head->flags & ~APUS_FLAGS_BIND) != 0 || head->reserved != 0) return APUS_BAD_FLAGS;
  if (head->open_files < APUS_OPEN_FILES_MIN || head->open_files > 1048576) return APUS_BAD_LIMITS;
  if (head->processes > 4194304) return APUS_BAD_LIMITS;
  if (!apus_tmp_ok(head->tmp_bytes, head->tmp_inodes)) return APUS_BAD_LIMITS;
  if (head->arguments > APUS_ARGUMENTS_MAX || head->environment > APUS_ENVIRONMENT_MAX ||
      head->secrets > APUS_SECRETS_MAX || (head->arguments == 0) != (warm != 0))
    return APUS_BAD_COUNTS;
  if ((head->secrets != 0) != ((head->flags & APUS_FD_SECRETS) != 0)) return APUS_BAD_COUNTS;
  if (descriptors != apus_count_bits(head->flags & APUS_FLAGS_FD)) return APUS_BAD_DESCRIPTORS;

  const uint8_t *cursor = message + sizeof out->head, *end = message + length;
  out->hostname = apus_take_string(&cursor, end, APUS_HOSTNAME_MAX);
  out->directory = out->hostname == NULL ? NULL : apus_take_string(&cursor, end, APUS_DIRECTORY_MAX);
  if (out->directory == NULL || out->directory[0] != '/') return APUS_BAD_STRING;
  refusal = apus_take_command(&cursor, end, head->arguments, head->environment, &out->command);
  if (refusal != APUS_OK) return refusal;
  refusal = apus_take_secrets(&cursor, end, out);
  if (refusal != APUS_OK) return refusal;
  return cursor == end ? APUS_OK : APUS_TRAILING_BYTES;
}

/// Decodes a ZYGOTE message.
static inline int apus_decode_zygote(const uint8_t *message, size_t length, size_t descriptors,
                                     struct apus_zygote *out) {
  if (length < sizeof out->head || length > APUS_MESSAGE_MAX) return APUS_BAD_LENGTH;
  memcpy(&out->head, message, sizeof out->head);
  int refusal = apus_check_head(&out->head.head, APUS_ZYGOTE, length);
  if (refusal != APUS_OK) return refusal;
  if (out->head.reserved != 0) return APUS_BAD_FLAGS;
  if (out->head.arguments == 0 || out->head.arguments > APUS_ARGUMENTS_MAX ||
      out->head.environment > APUS_ENVIRONMENT_MAX)
    return APUS_BAD_COUNTS;
  if (descriptors != 1) return APUS_BAD_DESCRIPTORS;
  const uint8_t *cursor = message + sizeof out->head, *end = message + length;
  refusal = apus_take_command(&cursor, end, out->head.arguments, out->head.environment, &out->command);
  if (refusal != APUS_OK) return refusal;
  return cursor == end ? APUS_OK : APUS_TRAILING_BYTES;
}

#endif
