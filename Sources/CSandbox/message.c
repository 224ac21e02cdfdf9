// Messages with descriptors, as the spawner, its zygotes and the pods' first processes receive them.
#include "csandbox.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

ssize_t message_receive(int socket, void *bytes, size_t capacity, int flags, int *descriptors, size_t *count) {
  union {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(sizeof(int) * APUS_DESCRIPTORS_MAX)];
  } control;
  struct iovec part = {bytes, capacity};
  struct msghdr packet = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes,
                          .msg_controllen = sizeof control.bytes};
  *count = 0;
  memset(bytes, 0, sizeof(struct apus_head));
  ssize_t length = recvmsg(socket, &packet, MSG_CMSG_CLOEXEC | flags);
  if (length <= 0) return length;
  for (struct cmsghdr *head = CMSG_FIRSTHDR(&packet); head != NULL; head = CMSG_NXTHDR(&packet, head)) {
    if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
    size_t here = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(descriptors + *count, CMSG_DATA(head), here * sizeof(int));
    *count += here;
  }
  if (packet.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
    close_all(descriptors, *count);
    *count = 0;
    errno = (packet.msg_flags & MSG_TRUNC) ? EMSGSIZE : EMFILE;
    return -1;
  }
  return length;
}

struct pod_descriptors message_sort(const struct apus_spawn *spawn, const int *received) {
  struct pod_descriptors given = {.cgroups = {-1, -1, -1, -1}};
  size_t next = 0;
  for (size_t i = 0; i < spawn->head.cgroups; i++) given.cgroups[i] = received[next++];
  const struct {
    uint32_t flag;
    int *place;
  } places[] = {
    {APUS_FD_BIND, &given.bind},         {APUS_FD_ROOT, &given.root},     {APUS_FD_STDOUT, &given.out},
    {APUS_FD_STDERR, &given.err},        {APUS_FD_LISTENER, &given.listener}, {APUS_FD_FRAMES, &given.frames},
    {APUS_FD_CONTROL, &given.control},   {APUS_FD_STATUS, &given.status}, {APUS_FD_PASSWD, &given.passwd},
  };
  for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
    *places[i].place = (spawn->head.flags & places[i].flag) ? received[next++] : -1;
  return given;
}

int message_reply(int socket, struct apus_reply *reply, int descriptor) {
  reply->head.magic = APUS_MAGIC;
  reply->head.version = APUS_VERSION;
  reply->head.length = sizeof *reply;
  struct iovec part = {reply, sizeof *reply};
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
    sent = sendmsg(socket, &packet, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent < 0 ? -1 : 0;
}

void close_all(const int *descriptors, size_t count) {
  for (size_t i = 0; i < count; i++) close(descriptors[i]);
}
