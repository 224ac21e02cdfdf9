// Zygotes: interpreters with their modules loaded, from which pods are forked in a millisecond. Each lives in a copy of
// the template namespace with its runtime's root and nothing else, keeps root to make pods, runs code of ours alone, and
// never sees what a pod becomes: BIND goes to the pod. A pod's parent is the spawner (CLONE_PARENT), so a zygote's end
// hurts no pod, and pods end as all others do.
#include "spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEND_PATIENCE_S 5

struct zygote {
  uint64_t ticket; /* 0: free */
  pid_t pid;
  int socket; /* -1 once it is closed; the process may still be ending */
};

static struct zygote zygotes[APUS_ZYGOTES_MAX];

/* The zygote's own process: its root, its socket at 3, its program. What fails is seen as an end without READY. */
__attribute__((noreturn)) static void zygote_main(const struct apus_zygote *zygote, int root, int socket) {
  enum apus_step step;
  sigset_t none;
  sigemptyset(&none);
  if (root_enter(root, 0, &step) == 0 && dup2(socket, APUS_SOCKET_FD) == APUS_SOCKET_FD) {
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; null >= 0 && fd < APUS_SOCKET_FD; fd++) dup2(null, fd);
    syscall(SYS_close_range, APUS_SOCKET_FD + 1, ~0u, 0);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(zygote->command.arguments[0], (char *const *)zygote->command.arguments,
           (char *const *)zygote->command.environment);
  }
  _exit(127);
}

static void let_go(struct zygote *zygote) {
  if (zygote->socket < 0) return;
  epoll_ctl(events, EPOLL_CTL_DEL, zygote->socket, NULL);
  close(zygote->socket);
  zygote->socket = -1;
  zygote_lost(zygote->ticket);
}

/* Its end of the socket closes; it may be in no state to notice. Pods that it made are not its children. */
static void end(struct zygote *zygote) {
  let_go(zygote);
  if (zygote->pid > 0) kill(zygote->pid, SIGKILL);
}

void zygote_start(const struct apus_zygote *zygote, int root) {
  uint64_t ticket = zygote->head.head.ticket;
  uint32_t index = 0;
  while (index < APUS_ZYGOTES_MAX && zygotes[index].ticket != 0) index++;
  if (index == APUS_ZYGOTES_MAX) return tell_failed(0, ticket, APUS_STEP_CAPACITY, EAGAIN);
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
    return tell_failed(0, ticket, APUS_STEP_ZYGOTE, errno);
  struct clone_args how;
  memset(&how, 0, sizeof how);
  how.flags = CLONE_NEWNS;
  how.exit_signal = SIGCHLD;
  pid_t pid = (pid_t)syscall(SYS_clone3, &how, sizeof how);
  if (pid == 0) zygote_main(zygote, root, pair[1]);
  int error = errno;
  close(pair[1]);
  if (pid < 0) {
    close(pair[0]);
    return tell_failed(0, ticket, APUS_STEP_CLONE, error);
  }
  // One that reads nothing any more must not hold everybody up; while it works off a crowd, waiting is right.
  const struct timeval patience = {.tv_sec = SEND_PATIENCE_S};
  setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  zygotes[index] = (struct zygote){.ticket = ticket, .pid = pid, .socket = pair[0]};
  struct epoll_event watch = {.events = EPOLLIN, .data.u32 = EVENT_ZYGOTES + index};
  epoll_ctl(events, EPOLL_CTL_ADD, pair[0], &watch);
}

void zygote_retire(uint64_t ticket) {
  for (uint32_t i = 0; i < APUS_ZYGOTES_MAX; i++) {
    if (ticket == 0 || zygotes[i].ticket != ticket) continue;
    // The pods that it told of are made; of all others the worker hears that they are not.
    while (zygote_listen(i)) {
    }
    end(&zygotes[i]);
  }
}

int zygote_spawn(const struct apus_spawn *spawn, const uint8_t *message, const int *descriptors, size_t count) {
  struct zygote *zygote = NULL;
  for (uint32_t i = 0; i < APUS_ZYGOTES_MAX; i++) {
    if (zygotes[i].ticket == spawn->head.zygote && zygotes[i].socket >= 0) zygote = &zygotes[i];
  }
  errno = ESRCH;
  if (zygote == NULL) return -1;
  struct apus_spawn_head head = spawn->head;
  head.flags |= APUS_FD_STATUS | APUS_FD_PASSWD;
  struct iovec parts[2] = {{&head, sizeof head},
                           {(void *)(uintptr_t)(message + sizeof head), head.head.length - sizeof head}};
  union {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(sizeof(int) * APUS_DESCRIPTORS_MAX)];
  } control;
  memset(&control, 0, sizeof control);
  errno = EMSGSIZE;
  if (count > APUS_DESCRIPTORS_MAX) return -1;
  struct msghdr packet = {.msg_iov = parts, .msg_iovlen = 2, .msg_control = control.bytes,
                          .msg_controllen = CMSG_SPACE(sizeof(int) * count)};
  struct cmsghdr *rights = CMSG_FIRSTHDR(&packet);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(int) * count);
  memcpy(CMSG_DATA(rights), descriptors, sizeof(int) * count);
  ssize_t sent;
  do {
    sent = sendmsg(zygote->socket, &packet, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent >= 0) return 0;
  int error = errno;
  // That it ended is heard through its socket, as always.
  if (error == EAGAIN && zygote->pid > 0) kill(zygote->pid, SIGKILL);
  errno = error;
  return -1;
}

int zygote_listen(uint32_t index) {
  if (index >= APUS_ZYGOTES_MAX || zygotes[index].socket < 0) return 0;
  struct apus_reply reply;
  int descriptors[APUS_DESCRIPTORS_MAX];
  size_t count;
  ssize_t length =
    message_receive(zygotes[index].socket, &reply, sizeof reply, MSG_DONTWAIT, descriptors, &count);
  if (length < 0 && (errno == EINTR || errno == EAGAIN)) return 0;
  // Said once when it ends with messages unread; what it sent before comes after it.
  if (length < 0 && errno == ECONNRESET) return 1;
  if (length < 0 && errno == EMFILE) {
    // The pod it made ends by itself: nobody tells it what it is.
    pod_made(reply.head.ticket, 0, -1, APUS_STEP_MESSAGE, EMFILE);
    return 1;
  }
  if (length != (ssize_t)sizeof reply) {
    close_all(descriptors, length > 0 ? count : 0);
    let_go(&zygotes[index]);
    return 0;
  }
  if (reply.head.type == APUS_READY) {
    reply.head.ticket = zygotes[index].ticket;
    tell(&reply, -1);
  } else if (reply.head.type == APUS_STARTED && count == 1) {
    pod_made(reply.head.ticket, reply.code, descriptors[0], 0, 0);
    return 1;
  } else if (reply.head.type == APUS_FAILED) {
    pod_made(reply.head.ticket, 0, -1, reply.step, reply.code);
  }
  close_all(descriptors, count);
  return 1;
}

int zygote_ended(pid_t pid) {
  for (uint32_t i = 0; i < APUS_ZYGOTES_MAX; i++) {
    if (zygotes[i].ticket == 0 || zygotes[i].pid != pid) continue;
    // What it said before it ended is heard first.
    while (zygote_listen(i)) {
    }
    let_go(&zygotes[i]);
    struct apus_reply gone = {.head = {.type = APUS_GONE, .ticket = zygotes[i].ticket}};
    zygotes[i] = (struct zygote){.ticket = 0};
    tell(&gone, -1);
    return 1;
  }
  return 0;
}

void zygotes_reap(void) {
  for (uint32_t i = 0; i < APUS_ZYGOTES_MAX; i++) {
    if (zygotes[i].ticket == 0 || zygotes[i].socket >= 0) continue;
    if (waitpid(zygotes[i].pid, NULL, WNOHANG) == zygotes[i].pid) zygote_ended(zygotes[i].pid);
  }
}
