// apus-spawner: starts pods for one worker.
//
// The worker is large and multithreaded; forking it costs milliseconds and copies its secrets. This process is small,
// single-threaded and static, and does nothing else. The worker starts it as process 1 of a process namespace of its
// own, so that its death, however it comes, makes the kernel kill every pod. It dies with the worker (PDEATHSIG) and
// when its socket closes. It waits in one epoll: for messages, for ended pods, for their status pipes.
#include "spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define EVENT_SOCKET (APUS_PODS_MAX + 1u)
#define EVENT_CHILDREN (APUS_PODS_MAX + 2u)
#define EVENTS_MAX 64

struct pod {
  uint64_t ticket; /* 0: free */
  uint32_t slot;
  pid_t pid;
  int status; /* the status pipe's reading end */
  int pidfd;  /* until it was handed over with STARTED */
  int answered, ended, how;
  uint32_t failed; /* enum apus_step; told when the process is gone, so that its cgroup is empty by then */
  int error;
  uint64_t received, cloned;
};

static struct pod pods[APUS_PODS_MAX];
static unsigned pods_top; /* no pod at or above this index */
static int events, children;

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

/* Sends one reply; a worker that does not listen any more is the end of us. */
static void reply(struct apus_reply *message, int descriptor) {
  message->head.magic = APUS_MAGIC;
  message->head.version = APUS_VERSION;
  message->head.length = sizeof *message;
  struct iovec part = {message, sizeof *message};
  union {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(sizeof(int))];
  } control;
  struct msghdr packet = {.msg_iov = &part, .msg_iovlen = 1};
  if (descriptor >= 0) {
    packet.msg_control = control.bytes;
    packet.msg_controllen = sizeof control.bytes;
    struct cmsghdr *head = CMSG_FIRSTHDR(&packet);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(head), &descriptor, sizeof(int));
  }
  ssize_t sent;
  do {
    sent = sendmsg(APUS_SOCKET_FD, &packet, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) _exit(0);
}

static void reply_failed(uint32_t slot, uint64_t ticket, uint32_t step, int code) {
  struct apus_reply message = {
    .head = {.type = APUS_FAILED, .slot = slot, .ticket = ticket}, .step = step, .code = code};
  reply(&message, -1);
}

static struct pod *free_pod(void) {
  for (unsigned i = 0; i < APUS_PODS_MAX; i++) {
    if (pods[i].ticket != 0) continue;
    if (i >= pods_top) pods_top = i + 1;
    return &pods[i];
  }
  return NULL;
}

static void release(struct pod *pod) {
  if (pod->status >= 0) close(pod->status);
  if (pod->pidfd >= 0) close(pod->pidfd);
  memset(pod, 0, sizeof *pod);
  while (pods_top > 0 && pods[pods_top - 1].ticket == 0) pods_top--;
}

/* Gives each received descriptor its purpose, in the order the protocol fixes. */
static struct pod_descriptors sort_descriptors(const struct apus_spawn *spawn, const int *received) {
  struct pod_descriptors given = {.cgroups = {-1, -1, -1, -1}};
  size_t next = 0;
  for (size_t i = 0; i < spawn->head.cgroups; i++) given.cgroups[i] = received[next++];
  given.root = received[next++];
  int *const places[] = {&given.code, &given.out, &given.err, &given.listener, &given.frames, &given.control,
                         &given.secrets};
  for (unsigned bit = 0; bit < sizeof places / sizeof places[0]; bit++) {
    *places[bit] = (spawn->head.flags & (APUS_FD_CODE << bit)) ? received[next++] : -1;
  }
  return given;
}

/* New namespaces for mounts, processes, network, System V objects and host name; on cgroup v2 born in its cgroup. */
static pid_t clone_pod(const struct apus_spawn *spawn, const struct pod_descriptors *given, int *pidfd) {
  struct clone_args how;
  memset(&how, 0, sizeof how);
  how.flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_PIDFD;
  how.exit_signal = SIGCHLD;
  how.pidfd = (uint64_t)(uintptr_t)pidfd;
  if (spawn->head.flags & APUS_CGROUP_V2) {
    how.flags |= CLONE_INTO_CGROUP;
    how.cgroup = (uint64_t)given->cgroups[0];
  }
  return (pid_t)syscall(SYS_clone3, &how, sizeof how);
}

static void start(const struct apus_spawn *spawn, const int *received, uint64_t received_at) {
  const struct apus_head *head = &spawn->head.head;
  struct pod *pod = free_pod();
  if (pod == NULL) {
    reply_failed(head->slot, head->ticket, APUS_STEP_CAPACITY, EAGAIN);
    return;
  }
  struct pod_descriptors given = sort_descriptors(spawn, received);
  int status[2], pidfd = -1;
  if (template_passwd(head->slot, spawn->head.uid) != 0 || pipe2(status, O_CLOEXEC) != 0) {
    reply_failed(head->slot, head->ticket, APUS_STEP_TEMPLATE, errno);
    return;
  }
  fcntl(status[0], F_SETFL, O_NONBLOCK);
  pid_t pid = clone_pod(spawn, &given, &pidfd);
  if (pid == 0) pod_main(spawn, &given, status[1]);
  int error = errno;
  close(status[1]);
  if (pid < 0) {
    close(status[0]);
    reply_failed(head->slot, head->ticket, APUS_STEP_CLONE, error);
    return;
  }
  *pod = (struct pod){.ticket = head->ticket, .slot = head->slot, .pid = pid, .status = status[0], .pidfd = pidfd,
                      .received = received_at, .cloned = now_ns()};
  struct epoll_event watch = {.events = EPOLLIN, .data.u32 = (uint32_t)(pod - pods)};
  epoll_ctl(events, EPOLL_CTL_ADD, status[0], &watch);
}

/* Hears what the pod wrote: that it executed, why it could not, how the command ended. */
static void listen_to(struct pod *pod) {
  struct pod_report report;
  for (;;) {
    ssize_t count = read(pod->status, &report, sizeof report);
    if (count < 0 && errno == EINTR) continue;
    if (count != (ssize_t)sizeof report) {
      if (count == 0) epoll_ctl(events, EPOLL_CTL_DEL, pod->status, NULL);
      return;
    }
    if (report.kind == REPORT_FAILED && !pod->answered) {
      pod->answered = 1;
      pod->failed = report.step;
      pod->error = report.code;
    } else if (report.kind == REPORT_EXECUTED && !pod->answered) {
      pod->answered = 1;
      struct apus_reply message = {.head = {.type = APUS_STARTED, .slot = pod->slot, .ticket = pod->ticket},
                                   .code = pod->pid, .first = pod->received, .second = pod->cloned, .third = now_ns()};
      reply(&message, pod->pidfd);
      close(pod->pidfd);
      pod->pidfd = -1;
    } else if (report.kind == REPORT_ENDED) {
      pod->ended = 1;
      pod->how = report.code;
    }
  }
}

static uint64_t microseconds(struct timeval time) {
  return (uint64_t)time.tv_sec * 1000000ull + (uint64_t)time.tv_usec;
}

static void finish(struct pod *pod, int how, const struct rusage *usage) {
  listen_to(pod);
  if (!pod->answered) {
    // Killed before it could say anything: out of memory while being built, most likely.
    reply_failed(pod->slot, pod->ticket, APUS_STEP_EXEC, ECHILD);
  } else if (pod->failed) {
    reply_failed(pod->slot, pod->ticket, pod->failed, pod->error);
  } else {
    struct apus_reply message = {.head = {.type = APUS_EXITED, .slot = pod->slot, .ticket = pod->ticket},
                                 .code = pod->ended ? pod->how : how,
                                 .first = microseconds(usage->ru_utime) + microseconds(usage->ru_stime),
                                 .second = (uint64_t)usage->ru_maxrss, .third = pod->ended ? 0 : 1};
    reply(&message, -1);
  }
  release(pod);
}

static void reap_all(void) {
  struct signalfd_siginfo drained[16];
  while (read(children, drained, sizeof drained) > 0) {
  }
  int how;
  struct rusage usage;
  pid_t pid;
  // As process 1 of the namespace we are given orphans too; those are of no one's interest.
  while ((pid = wait4(-1, &how, WNOHANG, &usage)) > 0) {
    for (unsigned i = 0; i < pods_top; i++) {
      if (pods[i].ticket == 0 || pods[i].pid != pid) continue;
      finish(&pods[i], how, &usage);
      break;
    }
  }
}

static void close_all(const int *descriptors, size_t count) {
  for (size_t i = 0; i < count; i++) close(descriptors[i]);
}

/* Receives one message; 0 when there is none, exits when the worker is gone. */
static int receive(void) {
  static uint8_t bytes[APUS_MESSAGE_MAX];
  static struct apus_spawn spawn;
  union {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(sizeof(int) * APUS_DESCRIPTORS_MAX)];
  } control;
  struct iovec part = {bytes, sizeof bytes};
  struct msghdr packet = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes,
                          .msg_controllen = sizeof control.bytes};
  ssize_t length = recvmsg(APUS_SOCKET_FD, &packet, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (length < 0) {
    if (errno == EINTR || errno == EAGAIN) return 0;
    _exit(0);
  }
  if (length == 0) _exit(0);
  uint64_t received_at = now_ns();
  int descriptors[APUS_DESCRIPTORS_MAX];
  size_t count = 0;
  for (struct cmsghdr *head = CMSG_FIRSTHDR(&packet); head != NULL; head = CMSG_NXTHDR(&packet, head)) {
    if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
    size_t here = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(descriptors + count, CMSG_DATA(head), here * sizeof(int));
    count += here;
  }
  int refusal = (packet.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) ? APUS_BAD_LENGTH
                                                             : apus_decode_spawn(bytes, (size_t)length, count, &spawn);
  if (refusal == APUS_OK) {
    start(&spawn, descriptors, received_at);
  } else {
    struct apus_head head = {0};
    if ((size_t)length >= sizeof head) memcpy(&head, bytes, sizeof head);
    reply_failed(head.slot, head.ticket, APUS_STEP_MESSAGE, -refusal);
  }
  close_all(descriptors, count);
  return 1;
}

static void begin(void) {
  // The worker's end is ours, even if it is killed with -9; the socket's closing covers the moment before this line.
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  prctl(PR_SET_NAME, "apus-spawner", 0, 0, 0);
  setsid();
  struct rlimit core = {0, 0};
  setrlimit(RLIMIT_CORE, &core);
  sigset_t waited;
  sigemptyset(&waited);
  sigaddset(&waited, SIGCHLD);
  sigprocmask(SIG_SETMASK, &waited, NULL);
  children = signalfd(-1, &waited, SFD_CLOEXEC | SFD_NONBLOCK);
  events = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event socket = {.events = EPOLLIN, .data.u32 = EVENT_SOCKET};
  struct epoll_event reaper = {.events = EPOLLIN, .data.u32 = EVENT_CHILDREN};
  if (children < 0 || events < 0 || epoll_ctl(events, EPOLL_CTL_ADD, APUS_SOCKET_FD, &socket) != 0 ||
      epoll_ctl(events, EPOLL_CTL_ADD, children, &reaper) != 0 || filter_build() != 0 || template_enter() != 0) {
    reply_failed(0, 0, APUS_STEP_TEMPLATE, errno);
    _exit(1);
  }
  struct apus_reply ready = {.head = {.type = APUS_READY}};
  reply(&ready, -1);
}

int main(void) {
  begin();
  for (;;) {
    struct epoll_event happened[EVENTS_MAX];
    int count = epoll_wait(events, happened, EVENTS_MAX, -1);
    if (count < 0 && errno != EINTR) _exit(1);
    int ended = 0;
    for (int i = 0; i < count; i++) {
      uint32_t what = happened[i].data.u32;
      if (what == EVENT_SOCKET) {
        receive();
      } else if (what == EVENT_CHILDREN) {
        ended = 1;
      } else if (pods[what].ticket != 0 && pods[what].status >= 0) {
        listen_to(&pods[what]);
      }
    }
    // After the pipes of this round, and only once: a pod's index is not used again before all its events were seen.
    if (ended) reap_all();
  }
}
