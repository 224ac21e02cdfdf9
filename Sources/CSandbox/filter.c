// The system call filter of every pod, as classic BPF: what is listed is allowed, some of it only with certain
// arguments, and all else does not exist (ENOSYS, which lets libraries fall back; EPERM would break glibc).
// Built once at start as a binary search over ranges of numbers: putting it on costs a pod about 0.1 ms, and the
// kernel remembers which numbers are always allowed, so those cost nothing at run time.
#include "csandbox.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define FILTER_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define FILTER_ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "apus-spawner knows the system calls of x86_64 and aarch64"
#endif

#define REFUSE(number) (SECCOMP_RET_ERRNO | (number))
#define PROGRAM_MAX 1024
#define RULES_MAX 512

#include "syscalls.h" /* allowed[] */

enum verdict { DENY, ALLOW, CHECK_CLONE, CHECK_SOCKET, CHECK_SOCKETPAIR, CHECK_IOCTL, CHECK_PERSONALITY, CHECK_MKNOD,
               CHECK_MKNODAT };

struct rule {
  unsigned number;
  enum verdict verdict;
};

static struct sock_filter program[PROGRAM_MAX];
static size_t length;
/* The whole filters: for pods whose root is shared with other pods, and for those with a root of their own. */
static struct sock_filter shared_program[PROGRAM_MAX], own_program[PROGRAM_MAX];
static size_t shared_length, own_length;
static int overflow;

static size_t emit(unsigned short code, unsigned char yes, unsigned char no, unsigned value) {
  if (length >= PROGRAM_MAX) {
    overflow = 1;
    return 0;
  }
  program[length] = (struct sock_filter){code, yes, no, value};
  return length++;
}

static void answer(unsigned value) { emit(BPF_RET | BPF_K, 0, 0, value); }

static void load_argument(unsigned index) {
  // The low half: every argument tested here is an int, and the kernel looks at no more of it.
  emit(BPF_LD | BPF_W | BPF_ABS, 0, 0, (unsigned)offsetof(struct seccomp_data, args) + index * 8);
}

/* if the accumulator equals `value`: allow */
static void allow_if(unsigned value) {
  emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, value);
  answer(SECCOMP_RET_ALLOW);
}

static void refuse_if(unsigned value, int error) {
  emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, value);
  answer(REFUSE(error));
}

static void check_socket(void) {
  load_argument(0);
  allow_if(AF_UNIX);
  // NETLINK only for the pod's own addresses and routes (protocol 0).
  emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 3, AF_NETLINK);
  load_argument(2);
  allow_if(0);
  answer(REFUSE(EPROTONOSUPPORT));
  if (overflow) return;
  program[length - 5].jf = 4; /* past load, compare, allow and refuse */
  // INET and INET6, streams and datagrams; no raw and no packet sockets.
  emit(BPF_JMP | BPF_JEQ | BPF_K, 2, 0, AF_INET);
  emit(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, AF_INET6);
  answer(REFUSE(EAFNOSUPPORT));
  load_argument(1);
  emit(BPF_ALU | BPF_AND | BPF_K, 0, 0, 0xf);
  allow_if(SOCK_STREAM);
  allow_if(SOCK_DGRAM);
  answer(REFUSE(EPERM));
}

static void check_mknod(unsigned mode_argument) {
  load_argument(mode_argument);
  emit(BPF_ALU | BPF_AND | BPF_K, 0, 0, S_IFMT);
  refuse_if(S_IFCHR, EPERM);
  refuse_if(S_IFBLK, EPERM);
  answer(SECCOMP_RET_ALLOW);
}

static void judge(enum verdict verdict) {
  switch (verdict) {
  case ALLOW: answer(SECCOMP_RET_ALLOW); return;
  case CHECK_CLONE:
    // Processes and threads, but no new namespace of any kind: a user namespace would give back capabilities.
    load_argument(0);
    emit(BPF_JMP | BPF_JSET | BPF_K, 0, 1,
         CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET);
    answer(REFUSE(EPERM));
    answer(SECCOMP_RET_ALLOW);
    return;
  case CHECK_SOCKET: check_socket(); return;
  case CHECK_SOCKETPAIR:
    load_argument(0);
    allow_if(AF_UNIX);
    answer(REFUSE(EAFNOSUPPORT));
    return;
  case CHECK_IOCTL:
    load_argument(1);
    refuse_if(0x5412 /* TIOCSTI: types into a terminal */, EPERM);
    refuse_if(0x541c /* TIOCLINUX: pastes into one */, EPERM);
    answer(SECCOMP_RET_ALLOW);
    return;
  case CHECK_PERSONALITY:
    load_argument(0);
    allow_if(0xffffffffu); /* asks */
    allow_if(0);           /* plain Linux */
    answer(REFUSE(EPERM)); /* no address randomisation switched off */
    return;
  case CHECK_MKNOD: check_mknod(1); return;
  case CHECK_MKNODAT: check_mknod(2); return;
  case DENY: answer(REFUSE(ENOSYS)); return;
  }
}

static enum verdict verdict_of(unsigned number, int own_root) {
  switch (number) {
  // Would tell what other tenants' pods of the runtime open, and when: they have the files in common.
  case SYS_inotify_init1:
  case SYS_inotify_add_watch:
#ifdef SYS_inotify_init
  case SYS_inotify_init:
#endif
    return own_root ? ALLOW : DENY;
  case SYS_clone: return CHECK_CLONE;
  case SYS_socket: return CHECK_SOCKET;
  case SYS_socketpair: return CHECK_SOCKETPAIR;
  case SYS_ioctl: return CHECK_IOCTL;
  case SYS_personality: return CHECK_PERSONALITY;
#ifdef SYS_mknod
  case SYS_mknod: return CHECK_MKNOD;
#endif
  case SYS_mknodat: return CHECK_MKNODAT;
  default: return ALLOW;
  }
}

static int by_number(const void *left, const void *right) {
  unsigned a = *(const unsigned *)left, b = *(const unsigned *)right;
  return (a > b) - (a < b);
}

/* Ranges of numbers with one verdict each, as their first numbers; gaps are denied. */
static size_t make_rules(struct rule *rules, int own_root) {
  const size_t count = sizeof allowed / sizeof allowed[0];
  static unsigned sorted[sizeof allowed / sizeof allowed[0]];
  for (size_t i = 0; i < count; i++) sorted[i] = allowed[i];
  qsort(sorted, count, sizeof sorted[0], by_number);
  size_t made = 0;
  rules[made++] = (struct rule){0, DENY};
  for (size_t i = 0; i < count && made + 2 < RULES_MAX; i++) {
    enum verdict verdict = verdict_of(sorted[i], own_root);
    if (rules[made - 1].number == sorted[i]) {
      rules[made - 1].verdict = verdict; /* the gap before was empty */
      if (made > 1 && verdict == ALLOW && rules[made - 2].verdict == ALLOW) made--;
    } else {
      rules[made++] = (struct rule){sorted[i], verdict};
    }
    rules[made++] = (struct rule){sorted[i] + 1, DENY};
  }
  return made;
}

/* A binary search over rules[from..<to]. */
static void search(const struct rule *rules, size_t from, size_t to) {
  if (to - from == 1) {
    judge(rules[from].verdict);
    return;
  }
  size_t middle = from + (to - from) / 2;
  // A conditional jump reaches 255 instructions, BPF_JA any distance: not below the middle → take the far branch.
  emit(BPF_JMP | BPF_JGE | BPF_K, 0, 1, rules[middle].number);
  size_t far = emit(BPF_JMP | BPF_JA, 0, 0, 0);
  search(rules, from, middle);
  if (!overflow) program[far].k = (unsigned)(length - far - 1);
  search(rules, middle, to);
}

static int build(int own_root) {
  static struct rule rules[RULES_MAX];
  size_t count = make_rules(rules, own_root);
  length = 0;
  // A system call of another architecture (int 0x80) has other numbers: that process is gone.
  emit(BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, arch));
  emit(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, FILTER_ARCHITECTURE);
  answer(SECCOMP_RET_KILL_PROCESS);
  emit(BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr));
  search(rules, 0, count);
  errno = E2BIG;
  return overflow || count + 2 >= RULES_MAX ? -1 : 0;
}

int filter_build(void) {
  if (build(1) != 0) return -1;
  memcpy(own_program, program, sizeof program);
  own_length = length;
  if (build(0) != 0) return -1;
  memcpy(shared_program, program, sizeof program);
  shared_length = length;
  return 0;
}

int filter_install(int own_root) {
  struct sock_fprog filter = {.len = (unsigned short)(own_root ? own_length : shared_length),
                              .filter = own_root ? own_program : shared_program};
  // Needs no_new_privs, which is set before; without SPEC_ALLOW the kernel would slow the pod down for old CPUs' sake.
  return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &filter);
}
