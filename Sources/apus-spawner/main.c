// apus-spawner: makes pods for one worker.
//
// The worker is large and multithreaded; forking it costs milliseconds and copies its secrets. This process is small,
// single-threaded and static, and does nothing else. The worker starts it as process 1 of a process namespace of its
// own, so that its death, however it comes, makes the kernel kill every pod. It dies with the worker (PDEATHSIG) and
// when its socket closes. It waits in one epoll: for messages, for ended pods, for their status pipes, for its zygotes.
//
// A pod is made in two steps: SPAWN makes one that waits, with everything that does not depend on the function, and BIND,
// which does not come here but to the pod itself, makes it a function's. Between the two a pod may wait in the worker's
// pool. An interpreter's pods may be forked from a zygote, a process with its modules loaded; see zygotes.c.
#include "spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
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
#define EARLY_MAX 256 /* processes that ended before their zygote told of them */
#define LOOK_NS 100000000ull /* children are gone through no more often */

struct pod {
  uint64_t ticket; /* 0: free */
  uint64_t zygote; /* who makes it; 0: we */
  uint32_t slot;
  pid_t pid;  /* 0 until its zygote told */
  int status; /* the status pipe's reading end */
  int pidfd;  /* until it was handed over with STARTED */
  int stands, told, ended, how;
  int closed; /* its status pipe: the process ends */
  int bound; /* 1: it reported so; 2: and that was told */
  uint32_t failed; /* enum apus_step; told when the process is gone, so that its cgroup is empty by then */
  int error;
  uint64_t received, cloned, stood, ran;
};

struct early {
  pid_t pid; /* 0: free */
  int how;
  struct rusage usage;
};

static struct pod pods[APUS_PODS_MAX];
static unsigned pods_top; /* no pod at or above this index */
static unsigned pods_next; /* where to look for a free one: behind the one found last */
static struct early early[EARLY_MAX];
static unsigned early_next;
static unsigned promised; /* pods that zygotes make and have not told of */
static unsigned ending[APUS_PODS_MAX]; /* indexes of pods that closed their pipe and were not reaped yet */
static unsigned ending_count;
static uint64_t looked; /* when children were gone through last */
static int look_due;
static int children;
int events;

/* Sends one reply; a worker that does not listen any more is the end of us. */
void tell(struct apus_reply *message, int descriptor) {
  while (message_reply(APUS_SOCKET_FD, message, descriptor) != 0) {
    if (errno != ENOBUFS && errno != ENOMEM && errno != ETOOMANYREFS) _exit(0);
    // The kernel has no room now; every pod would end with us.
    struct timespec moment = {.tv_nsec = 1000000};
    nanosleep(&moment, NULL);
  }
}

void tell_failed(uint32_t slot, uint64_t ticket, uint32_t step, int code) {
  struct apus_reply message = {
    .head = {.type = APUS_FAILED, .slot = slot, .ticket = ticket}, .step = step, .code = code};
  tell(&message, -1);
}

static struct pod *free_pod(void) {
  for (unsigned tried = 0; tried < APUS_PODS_MAX; tried++) {
    unsigned i = (pods_next + tried) % APUS_PODS_MAX;
    if (pods[i].ticket != 0) continue;
    if (i >= pods_top) pods_top = i + 1;
    pods_next = i + 1;
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

/* The slot's /etc/passwd as a mount that hangs nowhere yet. */
static int open_passwd(const struct apus_spawn *spawn) {
  if (template_passwd(spawn->head.head.slot, spawn->head.uid) != 0) return -1;
  char path[64];
  snprintf(path, sizeof path, TEMPLATE_PASSWD "/%u-%u", spawn->head.head.slot, spawn->head.uid);
  return (int)syscall(SYS_open_tree, AT_FDCWD, path, TREE_CLONE | O_CLOEXEC);
}

/* Makes the pod here, or has its zygote make it; 0 or the step that failed, with errno. */
static enum apus_step make(const struct apus_spawn *spawn, const uint8_t *message, const int *received, size_t count,
                           struct pod *pod, int status, int passwd) {
  if (spawn->head.zygote != 0) {
    int all[APUS_DESCRIPTORS_MAX + 2];
    memcpy(all, received, count * sizeof(int));
    all[count] = status;
    all[count + 1] = passwd;
    if (zygote_spawn(spawn, message, all, count + 2) != 0) return APUS_STEP_ZYGOTE;
    promised++;
    return APUS_STEP_NONE;
  }
  struct pod_descriptors given = message_sort(spawn, received);
  given.status = status;
  given.passwd = passwd;
  pod->pid = pod_clone(spawn, &given, 0, &pod->pidfd);
  if (pod->pid == 0) pod_main(spawn, &given, NULL);
  pod->cloned = now_ns();
  return pod->pid > 0 ? APUS_STEP_NONE : APUS_STEP_CLONE;
}

static void start(const struct apus_spawn *spawn, const uint8_t *message, const int *received, size_t count) {
  const struct apus_head *head = &spawn->head.head;
  uint64_t received_at = now_ns();
  struct pod *pod = free_pod();
  if (pod == NULL) {
    tell_failed(head->slot, head->ticket, APUS_STEP_CAPACITY, EAGAIN);
    return;
  }
  int status[2], passwd = open_passwd(spawn);
  if (passwd < 0 || pipe2(status, O_CLOEXEC) != 0) {
    tell_failed(head->slot, head->ticket, APUS_STEP_TEMPLATE, errno);
    if (passwd >= 0) close(passwd);
    return;
  }
  fcntl(status[0], F_SETFL, O_NONBLOCK);
  *pod = (struct pod){.ticket = head->ticket, .zygote = spawn->head.zygote, .slot = head->slot, .status = status[0],
                      .pidfd = -1, .received = received_at};
  enum apus_step failed = make(spawn, message, received, count, pod, status[1], passwd);
  int error = errno;
  close(status[1]);
  close(passwd);
  if (failed != APUS_STEP_NONE) {
    release(pod);
    tell_failed(head->slot, head->ticket, failed, error);
    return;
  }
  struct epoll_event watch = {.events = EPOLLIN, .data.u32 = (uint32_t)(pod - pods)};
  epoll_ctl(events, EPOLL_CTL_ADD, status[0], &watch);
}

/* Tells what the pod reported, that it stands before that it runs: where a zygote made it, once its process is known. */
static void tell_progress(struct pod *pod) {
  if (pod->stands && !pod->told && pod->pid != 0) {
    pod->told = 1;
    struct apus_reply message = {.head = {.type = APUS_STARTED, .slot = pod->slot, .ticket = pod->ticket},
                                 .code = pod->pid, .first = pod->received, .second = pod->cloned, .third = pod->stood};
    tell(&message, pod->pidfd);
    close(pod->pidfd);
    pod->pidfd = -1;
  }
  if (pod->told && pod->bound == 1) {
    pod->bound = 2;
    struct apus_reply message = {.head = {.type = APUS_BOUND, .slot = pod->slot, .ticket = pod->ticket},
                                 .third = pod->ran};
    tell(&message, -1);
  }
}

/* Hears what the pod wrote: that it stands, that its command runs, why it could not, how the command ended. */
static void listen_to(struct pod *pod) {
  struct pod_report report;
  for (;;) {
    ssize_t count = read(pod->status, &report, sizeof report);
    if (count < 0 && errno == EINTR) continue;
    if (count != (ssize_t)sizeof report) {
      if (count != 0 || pod->closed) return;
      epoll_ctl(events, EPOLL_CTL_DEL, pod->status, NULL);
      pod->closed = 1;
      if (ending_count < APUS_PODS_MAX) ending[ending_count++] = (unsigned)(pod - pods);
      return;
    }
    if (report.kind == REPORT_FAILED && !pod->failed && !pod->bound) {
      pod->failed = report.step;
      pod->error = report.code;
    } else if (report.kind == REPORT_STANDS) {
      pod->stands = 1;
      pod->stood = report.at;
      tell_progress(pod);
    } else if (report.kind == REPORT_BOUND && !pod->failed && !pod->bound) {
      pod->bound = 1;
      pod->ran = report.at;
      tell_progress(pod);
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
  if (!pod->told) {
    // Without a word it was killed while it was built: out of memory, most likely.
    tell_failed(pod->slot, pod->ticket, pod->failed ? pod->failed : APUS_STEP_CLONE, pod->failed ? pod->error : ECHILD);
  } else {
    struct apus_reply message = {.head = {.type = APUS_EXITED, .slot = pod->slot, .ticket = pod->ticket},
                                 .step = pod->failed,
                                 .code = pod->failed ? pod->error : pod->ended ? pod->how : how,
                                 .first = microseconds(usage->ru_utime) + microseconds(usage->ru_stime),
                                 .second = (uint64_t)usage->ru_maxrss, .third = pod->ended ? 0 : 1};
    tell(&message, -1);
  }
  release(pod);
}

/* A process we do not know: an orphan, or a pod whose zygote has not told of it yet. */
static void remember(pid_t pid, int how, const struct rusage *usage) {
  if (promised == 0) return;
  early[early_next] = (struct early){.pid = pid, .how = how, .usage = *usage};
  early_next = (early_next + 1) % EARLY_MAX;
}

/* One promise less; without any, nobody who ended is waited for, and numbers may come again. */
static void keep_promise(void) {
  if (--promised == 0) memset(early, 0, sizeof early);
}

void pod_made(uint64_t ticket, pid_t pid, int pidfd, uint32_t step, int code) {
  for (unsigned i = 0; i < pods_top; i++) {
    struct pod *pod = &pods[i];
    if (pod->ticket != ticket || pod->zygote == 0 || pod->pid != 0) continue;
    if (pid <= 0) {
      tell_failed(pod->slot, ticket, step, code);
      release(pod);
      return keep_promise();
    }
    pod->pid = pid;
    pod->pidfd = pidfd;
    pod->cloned = now_ns();
    tell_progress(pod);
    for (unsigned j = 0; j < EARLY_MAX; j++) {
      if (early[j].pid != pid) continue;
      early[j].pid = 0;
      finish(pod, early[j].how, &early[j].usage);
      break;
    }
    return keep_promise();
  }
  if (pidfd >= 0) close(pidfd);
}

void zygote_lost(uint64_t zygote) {
  for (unsigned i = 0; i < pods_top; i++) {
    if (pods[i].ticket == 0 || pods[i].zygote != zygote || pods[i].pid != 0) continue;
    // Made or not: its process loses the socket that the worker closes now, and ends. It waits for what it is to be, as
    // the worker tells pods of zygotes that no earlier than it hears of them.
    tell_failed(pods[i].slot, pods[i].ticket, APUS_STEP_ZYGOTE, EPIPE);
    release(&pods[i]);
    keep_promise();
  }
}

/* Reaps those whose pipe closed, each by its number: the kernel finds "any child" by going through all of them, which a
   thousand that end at once would make it do a thousand times. */
static void reap_ending(void) {
  unsigned left = 0;
  for (unsigned i = 0; i < ending_count; i++) {
    struct pod *pod = &pods[ending[i]];
    int how;
    struct rusage usage;
    if (pod->ticket == 0 || !pod->closed) continue; /* ended as one of all */
    if (pod->pid > 0 && wait4(pod->pid, &how, WNOHANG, &usage) == pod->pid) {
      finish(pod, how, &usage);
    } else {
      ending[left++] = ending[i];
    }
  }
  ending_count = left;
}

/* Everyone else who ended; orphans too, which are given to us as process 1 of the namespace and are of no one's interest. */
static void reap_all(void) {
  int how;
  struct rusage usage;
  pid_t pid;
  while ((pid = wait4(-1, &how, WNOHANG, &usage)) > 0) {
    if (zygote_ended(pid)) continue;
    unsigned i = 0;
    while (i < pods_top && (pods[i].ticket == 0 || pods[i].pid != pid)) i++;
    if (i < pods_top) {
      finish(&pods[i], how, &usage);
    } else {
      remember(pid, how, &usage);
    }
  }
}

/* After the events of a round: `ended` when children did. */
static void reap(int ended) {
  struct signalfd_siginfo drained[16];
  while (ended && read(children, drained, sizeof drained) > 0) {
  }
  reap_ending();
  zygotes_reap();
  look_due |= ended;
  if (!look_due) return;
  uint64_t now = now_ns();
  if (now < looked + LOOK_NS) return;
  looked = now;
  look_due = 0;
  reap_all();
}

/* How long the next round may wait for events, milliseconds; -1 without end. */
static int patience(void) {
  if (!look_due) return -1;
  uint64_t now = now_ns(), due = looked + LOOK_NS;
  return now >= due ? 0 : (int)((due - now) / 1000000) + 1;
}

static void refuse(const uint8_t *bytes, int error) {
  struct apus_head head;
  memcpy(&head, bytes, sizeof head);
  tell_failed(head.slot, head.ticket, APUS_STEP_MESSAGE, error);
}

/* Receives one message; exits when the worker is gone. */
static void receive(void) {
  static uint8_t bytes[APUS_MESSAGE_MAX];
  static struct apus_spawn spawn;
  static struct apus_zygote zygote;
  int descriptors[APUS_DESCRIPTORS_MAX];
  size_t count;
  ssize_t length = message_receive(APUS_SOCKET_FD, bytes, sizeof bytes, MSG_DONTWAIT, descriptors, &count);
  if (length < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (length < 0 && (errno == EMSGSIZE || errno == EMFILE)) return refuse(bytes, errno);
  if (length <= 0) _exit(0);
  struct apus_head head;
  memcpy(&head, bytes, sizeof head);
  int refusal = APUS_OK;
  if (head.type == APUS_ZYGOTE) {
    refusal = apus_decode_zygote(bytes, (size_t)length, count, &zygote);
    if (refusal == APUS_OK) zygote_start(&zygote, descriptors[0]);
  } else if (head.type == APUS_RETIRE && (size_t)length == sizeof head) {
    zygote_retire(head.ticket);
  } else {
    refusal = apus_decode_spawn(bytes, (size_t)length, count, &spawn);
    if (refusal == APUS_OK && (spawn.head.flags & (APUS_FD_STATUS | APUS_FD_PASSWD)) != 0) refusal = APUS_BAD_FLAGS;
    if (refusal == APUS_OK) start(&spawn, bytes, descriptors, count);
  }
  if (refusal != APUS_OK) refuse(bytes, -refusal);
  close_all(descriptors, count);
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
    tell_failed(0, 0, APUS_STEP_TEMPLATE, errno);
    _exit(1);
  }
  struct apus_reply ready = {.head = {.type = APUS_READY}};
  tell(&ready, -1);
}

int main(void) {
  begin();
  for (;;) {
    struct epoll_event happened[EVENTS_MAX];
    int count = epoll_wait(events, happened, EVENTS_MAX, patience());
    if (count < 0 && errno != EINTR) _exit(1);
    int ended = 0;
    for (int i = 0; i < count; i++) {
      uint32_t what = happened[i].data.u32;
      if (what == EVENT_SOCKET) {
        receive();
      } else if (what == EVENT_CHILDREN) {
        ended = 1;
      } else if (what >= EVENT_ZYGOTES) {
        zygote_listen(what - EVENT_ZYGOTES);
      } else if (pods[what].ticket != 0 && pods[what].status >= 0) {
        listen_to(&pods[what]);
      }
    }
    // After the pipes of this round, and only once: a pod's index is not used again before all its events were seen.
    reap(ended);
  }
}
