// The system calls of a process that carries packets of hostile code: sockets of the internet, memory, time, and reading
// the host's resolvers. It lies on top of every pod's own filter; what is not listed fails with EPERM.
#include "egress.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DENY (SECCOMP_RET_ERRNO | EPERM)
#define ARGUMENT(n) ((unsigned)offsetof(struct seccomp_data, args) + (n) * 8)

static const unsigned allowed[] = {
  SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_recvfrom, SYS_recvmsg, SYS_sendto, SYS_sendmsg, SYS_ppoll,
  SYS_connect, SYS_bind, SYS_shutdown, SYS_getsockname, SYS_getpeername, SYS_getsockopt, SYS_setsockopt, SYS_ioctl,
  SYS_fcntl, SYS_close, SYS_openat, SYS_newfstatat, SYS_fstat, SYS_lseek, SYS_brk, SYS_munmap, SYS_mremap,
  SYS_madvise, SYS_futex, SYS_clock_gettime, SYS_clock_nanosleep, SYS_gettimeofday, SYS_rt_sigreturn,
  SYS_rt_sigprocmask, SYS_restart_syscall, SYS_getpid, SYS_getrandom, SYS_exit, SYS_exit_group,
#ifdef SYS_poll
  SYS_poll,
#endif
#ifdef SYS_stat
  SYS_stat, SYS_open, SYS_time,
#endif
};

#define COUNT (sizeof allowed / sizeof allowed[0])
#define STATEMENT(code, k) ((struct sock_filter)BPF_STMT(code, k))
#define JUMP(test, k, yes, no) ((struct sock_filter)BPF_JUMP(BPF_JMP | (test) | BPF_K, k, yes, no))

int filter_install(void) {
  static struct sock_filter program[COUNT * 2 + 32];
  size_t length = 0;
  program[length++] = STATEMENT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
  for (size_t i = 0; i < COUNT; i++) {
    program[length++] = JUMP(BPF_JEQ, allowed[i], 0, 1);
    program[length++] = STATEMENT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  }
  // Sockets of IPv4 alone: no unix socket of the host, whose abstract names are in this network namespace.
  program[length++] = JUMP(BPF_JEQ, SYS_socket, 0, 4);
  program[length++] = STATEMENT(BPF_LD | BPF_W | BPF_ABS, ARGUMENT(0));
  program[length++] = JUMP(BPF_JEQ, AF_INET, 0, 1);
  program[length++] = STATEMENT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  program[length++] = STATEMENT(BPF_RET | BPF_K, DENY);
  // Memory, but none that is executed.
  program[length++] = JUMP(BPF_JEQ, SYS_mmap, 1, 0);
  program[length++] = JUMP(BPF_JEQ, SYS_mprotect, 0, 3);
  program[length++] = STATEMENT(BPF_LD | BPF_W | BPF_ABS, ARGUMENT(2));
  program[length++] = JUMP(BPF_JSET, PROT_EXEC, 1, 0);
  program[length++] = STATEMENT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  program[length++] = STATEMENT(BPF_RET | BPF_K, DENY);
  struct sock_fprog filter = {.len = (unsigned short)length, .filter = program};
  // The pod's own filter already ends what calls by another architecture's numbers.
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter);
}
