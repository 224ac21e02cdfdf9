#include "clinux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int apus_openat2(int directory_fd, const char *path, int flags, mode_t mode) {
  struct open_how how;
  memset(&how, 0, sizeof how);
  how.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC);
  // The kernel refuses a mode when nothing can be created.
  how.mode = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE ? mode : 0;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS;
  int fd;
  do {
    fd = (int)syscall(SYS_openat2, directory_fd, path, &how, sizeof how);
  } while (fd < 0 && (errno == EINTR || errno == EAGAIN));
  return fd;
}

int apus_open_in_root(int directory_fd, const char *path, int flags) {
  struct open_how how;
  memset(&how, 0, sizeof how);
  how.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC);
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  int fd;
  do {
    fd = (int)syscall(SYS_openat2, directory_fd, path, &how, sizeof how);
  } while (fd < 0 && (errno == EINTR || errno == EAGAIN));
  return fd;
}

int apus_packet_pair(int pair[2]) { return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair); }

int apus_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }

int apus_wake_create(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

int apus_wake(int fd) { return eventfd_write(fd, 1); }

int apus_wake_clear(int fd) {
  eventfd_t count;
  return eventfd_read(fd, &count);
}

ssize_t apus_send(int socket, const void *bytes, size_t length, const int *descriptors, size_t count) {
  union {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(sizeof(int) * APUS_DESCRIPTORS_MAX)];
  } control;
  if (count > APUS_DESCRIPTORS_MAX) {
    errno = E2BIG;
    return -1;
  }
  struct iovec part = {(void *)(uintptr_t)bytes, length};
  struct msghdr packet = {.msg_iov = &part, .msg_iovlen = 1};
  if (count > 0) {
    memset(&control, 0, sizeof control);
    packet.msg_control = control.bytes;
    packet.msg_controllen = CMSG_SPACE(sizeof(int) * count);
    struct cmsghdr *head = CMSG_FIRSTHDR(&packet);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int) * count);
    memcpy(CMSG_DATA(head), descriptors, sizeof(int) * count);
  }
  ssize_t sent;
  do {
    sent = sendmsg(socket, &packet, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent < 0 && errno == EINTR);
  return sent;
}

ssize_t apus_receive(int socket, void *bytes, size_t capacity, int *descriptor) {
  union {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(sizeof(int))];
  } control;
  *descriptor = -1;
  struct iovec part = {bytes, capacity};
  struct msghdr packet = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes,
                          .msg_controllen = sizeof control.bytes};
  ssize_t length;
  /* That the other end closed with something unread is told once, before what it sent ahead of that. */
  int resets = 0;
  do {
    length = recvmsg(socket, &packet, MSG_CMSG_CLOEXEC);
  } while (length < 0 && (errno == EINTR || (errno == ECONNRESET && resets++ == 0)));
  if (length <= 0) return length;
  struct cmsghdr *head = CMSG_FIRSTHDR(&packet);
  if (head != NULL && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS &&
      head->cmsg_len == CMSG_LEN(sizeof(int)))
    memcpy(descriptor, CMSG_DATA(head), sizeof(int));
  return length;
}

struct launch {
  const char *path;
  int socket;
  int error;
};

#define LAUNCH_STACK 65536

/* Runs in the parent's memory, its thread asleep, all signals blocked: raw system calls only, no allocation. */
static int launched(void *given) {
  struct launch *launch = given;
  struct sigaction plain;
  memset(&plain, 0, sizeof plain);
  plain.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; signal++) sigaction(signal, &plain, NULL);
  int moved = launch->socket == APUS_SOCKET_FD ? fcntl(APUS_SOCKET_FD, F_SETFD, 0)
                                               : dup2(launch->socket, APUS_SOCKET_FD);
  int null = open("/dev/null", O_RDWR);
  if (moved >= 0 && null >= 0 && dup2(null, 0) == 0 && dup2(null, 1) == 1 &&
      syscall(SYS_close_range, APUS_SOCKET_FD + 1, ~0u, 0) == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    char *arguments[] = {(char *)(uintptr_t)"apus-spawner", NULL}, *environment[] = {NULL};
    execve(launch->path, arguments, environment);
  }
  launch->error = errno;
  _exit(127);
}

pid_t apus_launch_spawner(const char *path, int socket, int *pidfd) {
  struct launch launch = {path, socket, 0};
  void *stack = mmap(NULL, LAUNCH_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) return -1;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  // CLONE_NEWPID: the spawner is process 1, so its end is the end of every pod.
  pid_t pid = clone(launched, (char *)stack + LAUNCH_STACK,
                    CLONE_VM | CLONE_VFORK | CLONE_NEWPID | CLONE_PIDFD | SIGCHLD, &launch, pidfd);
  int error = errno;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  munmap(stack, LAUNCH_STACK);
  if (pid > 0 && launch.error != 0) {
    apus_pidfd_wait(*pidfd);
    close(*pidfd);
    error = launch.error;
    pid = -1;
  }
  errno = error;
  return pid;
}

pid_t apus_start(const char *path, char *const *arguments) {
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_t actions;
  sigset_t none, usual;
  pid_t pid = -1;
  sigemptyset(&none);
  sigemptyset(&usual);
  sigaddset(&usual, SIGUSR2);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &usual);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  int error = posix_spawn(&pid, path, &actions, &attributes, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  errno = error;
  return error == 0 ? pid : -1;
}

int apus_pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

int apus_pidfd_signal(int pidfd, int signal) { return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0); }

int apus_pidfd_wait(int pidfd) {
  siginfo_t info;
  int result;
  do {
    result = waitid((idtype_t)3 /* P_PIDFD */, (id_t)pidfd, &info, WEXITED);
  } while (result < 0 && errno == EINTR);
  if (result < 0) return -1;
  return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}

int apus_wait_readable(int fd, int milliseconds) {
  struct pollfd one = {.fd = fd, .events = POLLIN};
  int result;
  do {
    result = poll(&one, 1, milliseconds);
  } while (result < 0 && errno == EINTR);
  return result;
}

int apus_poll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

int apus_poll_add(int poll, int fd, uint64_t token) {
  struct epoll_event watch = {.events = EPOLLIN, .data.u64 = token};
  return epoll_ctl(poll, EPOLL_CTL_ADD, fd, &watch);
}

int apus_poll_remove(int poll, int fd) { return epoll_ctl(poll, EPOLL_CTL_DEL, fd, NULL); }

int apus_poll_wait(int poll, uint64_t *tokens, int capacity, int milliseconds) {
  struct epoll_event happened[64];
  int count = epoll_wait(poll, happened, capacity < 64 ? capacity : 64, milliseconds);
  if (count < 0) return errno == EINTR ? 0 : -1;
  for (int index = 0; index < count; index++) tokens[index] = happened[index].data.u64;
  return count;
}

int apus_open_tree(const char *path) {
  // OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC; not recursive: what is mounted below stays out.
  return (int)syscall(SYS_open_tree, AT_FDCWD, path, 1u | O_CLOEXEC);
}

int apus_memory_file(const void *bytes, size_t length) {
  int fd = memfd_create("apus", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return -1;
  for (size_t done = 0; done < length;) {
    ssize_t count = write(fd, (const char *)bytes + done, length - done);
    if (count < 0) {
      int error = errno;
      close(fd);
      errno = error;
      return -1;
    }
    done += (size_t)count;
  }
  fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
  return fd;
}

static int connect_loopback(int fd, uint16_t port) {
  struct sockaddr_in address;
  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return connect(fd, (struct sockaddr *)&address, sizeof address);
}

int apus_netns_connect(int pidfd, uint16_t port, int home) {
  int fd = apus_netns_socket(pidfd, home);
  if (fd < 0) return -1;
  if (connect_loopback(fd, port) != 0 && errno != EINPROGRESS) {
    int error = errno;
    close(fd);
    errno = error;
    return -1;
  }
  return fd;
}

int apus_loopback_ask(int fd, uint16_t port) {
  // On a loopback the first answers EINPROGRESS although all is decided when it returns; the second tells the decision,
  // and after a refusal makes the socket fit for another try.
  for (int turn = 0; turn < 2; turn++) {
    if (connect_loopback(fd, port) == 0 || errno == EISCONN) return 1;
    if (errno != EINPROGRESS) break;
  }
  return 0;
}

int apus_poll(struct pollfd *watched, unsigned count, int64_t nanoseconds) {
  struct timespec timeout = {nanoseconds / 1000000000, nanoseconds % 1000000000};
  return ppoll(watched, count, nanoseconds < 0 ? NULL : &timeout, NULL);
}

int apus_timer_slack(unsigned long nanoseconds) { return prctl(PR_SET_TIMERSLACK, nanoseconds, 0, 0, 0); }

int apus_socket_error(int socket) {
  int error = 0;
  socklen_t size = sizeof error;
  return getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) != 0 ? errno : error;
}

int apus_copy_file(int from, int to, uint64_t length) {
  char buffer[65536];
  int by_kernel = 1;
  while (length > 0) {
    size_t step = length < (1u << 30) ? (size_t)length : (1u << 30);
    ssize_t count = by_kernel ? copy_file_range(from, NULL, to, NULL, step, 0) : -1;
    if (count < 0) {
      by_kernel = 0;
      count = read(from, buffer, step < sizeof buffer ? step : sizeof buffer);
      if (count > 0 && write(to, buffer, (size_t)count) != count) return -1;
    }
    if (count < 0) return -1;
    if (count == 0) break; /* the file became shorter */
    length -= (uint64_t)count;
  }
  return 0;
}

int apus_unmount(const char *path) { return umount2(path, MNT_DETACH); }

int apus_has_seccomp_filter(void) {
  uint32_t action = SECCOMP_RET_ERRNO;
  return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

int apus_has_capability(int number) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  struct __user_cap_data_struct data[2];
  if (number < 0 || number > 63 || syscall(SYS_capget, &header, data) != 0) return 0;
  return (data[number / 32].effective >> (number % 32)) & 1;
}

/* What the spawner relies on once the decoder said yes: every pointer is a string inside the message. */
static int inside(const uint8_t *message, size_t length, const char *text) {
  const uint8_t *start = (const uint8_t *)text;
  return start >= message && start < message + length && memchr(start, 0, (size_t)(message + length - start)) != NULL;
}

static int command_inside(const uint8_t *message, size_t length, const struct apus_command *command, size_t arguments,
                          size_t environment) {
  for (size_t i = 0; i < arguments; i++) {
    if (!inside(message, length, command->arguments[i])) return 0;
  }
  for (size_t i = 0; i < environment; i++) {
    if (!inside(message, length, command->environment[i])) return 0;
  }
  return command->arguments[arguments] == NULL && command->environment[environment] == NULL;
}

int apus_check_spawn_message(const uint8_t *message, size_t length, size_t descriptors) {
  static _Thread_local struct apus_spawn spawn;
  int refusal = apus_decode_spawn(message, length, descriptors, &spawn);
  if (refusal != APUS_OK) return refusal;
  if (spawn.head.uid < APUS_UID_MIN || spawn.head.gid < APUS_UID_MIN) return 1;
  return !command_inside(message, length, &spawn.command, spawn.head.arguments, spawn.head.environment);
}

int apus_check_bind_message(const uint8_t *message, size_t length, size_t descriptors, int warm) {
  static _Thread_local struct apus_bind bind;
  int refusal = apus_decode_bind(message, length, descriptors, warm, &bind);
  if (refusal != APUS_OK) return refusal;
  if (!inside(message, length, bind.hostname) || strlen(bind.hostname) > APUS_HOSTNAME_MAX) return 1;
  if (!inside(message, length, bind.directory) || bind.directory[0] != '/') return 1;
  if (!command_inside(message, length, &bind.command, bind.head.arguments, bind.head.environment)) return 1;
  for (size_t i = 0; i < bind.head.secrets; i++) {
    if (!inside(message, length, bind.secrets[i].path) || bind.secrets[i].path[0] == '/' ||
        strstr(bind.secrets[i].path, "..") == bind.secrets[i].path || strstr(bind.secrets[i].path, "/.") != NULL)
      return 1;
  }
  return 0;
}

int apus_check_zygote_message(const uint8_t *message, size_t length, size_t descriptors) {
  static _Thread_local struct apus_zygote zygote;
  int refusal = apus_decode_zygote(message, length, descriptors, &zygote);
  if (refusal != APUS_OK) return refusal;
  return !command_inside(message, length, &zygote.command, zygote.head.arguments, zygote.head.environment);
}

void apus_trim_heap(void) { malloc_trim(0); }

int apus_processors(void) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  int count = CPU_COUNT(&set);
  return count > 0 ? count : 1;
}
