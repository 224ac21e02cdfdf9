/* What the proxies stand in front of: an HTTP/1.1 server on $PORT that costs as little as can be, so that their own cost shows.
 * GET /mib answers 1 MiB, anything else "Hello, world!"; a body is read to its end and thrown away. One thread, epoll. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DESCRIPTORS = 4096, HEAD_BYTES = 16 * 1024, MIB = 1 << 20 };

struct connection {
  char head[HEAD_BYTES];
  size_t count;
  long long body;     /* bytes of a body still to come */
  int chunked;        /* a chunked body comes; it ends with "0\r\n\r\n" */
  const char *answer; /* what is still to be sent */
  size_t left;
};

static struct connection *connections[DESCRIPTORS];
static char small[256], large[MIB + 256], scratch[256 * 1024];
static size_t small_count, large_count;
static int events;

static void drop(int fd) {
  close(fd);
  free(connections[fd]);
  connections[fd] = NULL;
}

/* Sends what is left; 0 when the connection is gone. */
static int flush_answer(int fd, struct connection *c) {
  while (c->left > 0) {
    ssize_t sent = send(fd, c->answer, c->left, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) {
      struct epoll_event watch = {.events = EPOLLIN | EPOLLOUT, .data.fd = fd};
      epoll_ctl(events, EPOLL_CTL_MOD, fd, &watch);
      return 1;
    }
    if (sent <= 0) return 0;
    c->answer += sent;
    c->left -= (size_t)sent;
    if (c->left == 0 && c->answer == large + large_count) {
      struct epoll_event watch = {.events = EPOLLIN, .data.fd = fd};
      epoll_ctl(events, EPOLL_CTL_MOD, fd, &watch);
    }
  }
  return 1;
}

static int answer(int fd, struct connection *c) {
  int mib = strncmp(c->head, "GET /mib ", 9) == 0;
  c->answer = mib ? large : small;
  c->left = mib ? large_count : small_count;
  c->count = 0;
  return flush_answer(fd, c);
}

/* A head is there: finds its body's length. */
static void begin(struct connection *c, size_t head) {
  c->head[head - 1] = 0;
  const char *length = strcasestr(c->head, "\r\ncontent-length:");
  c->chunked = strcasestr(c->head, "\r\ntransfer-encoding:") != NULL;
  c->body = length ? atoll(length + 17) : 0;
  c->body -= (long long)(c->count - head);
}

/* Reads what came; 0 when the connection is gone. */
static int receive(int fd, struct connection *c) {
  for (;;) {
    int in_body = c->body > 0 || c->chunked;
    ssize_t got = in_body ? recv(fd, scratch, sizeof scratch, 0)
                          : recv(fd, c->head + c->count, sizeof c->head - c->count - 1, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return 1;
    if (got <= 0) return 0;
    if (in_body) {
      c->body -= got;
      if (c->chunked) c->chunked = got < 5 || memcmp(scratch + got - 5, "0\r\n\r\n", 5) != 0;
      if (c->body <= 0 && !c->chunked && !answer(fd, c)) return 0;
      continue;
    }
    c->count += (size_t)got;
    c->head[c->count] = 0;
    char *end = strstr(c->head, "\r\n\r\n");
    if (!end) {
      if (c->count + 1 == sizeof c->head) return 0;
      continue;
    }
    begin(c, (size_t)(end - c->head) + 4);
    if (c->body <= 0 && !c->chunked && !answer(fd, c)) return 0;
    if ((size_t)got < sizeof c->head / 2) return 1;
  }
}

int main(void) {
  const char *port = getenv("PORT");
  small_count = (size_t)sprintf(small, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!");
  large_count = (size_t)sprintf(large, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", MIB);
  memset(large + large_count, 'x', MIB);
  large_count += MIB;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port ? port : "8080"))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024)) return perror("listen"), 1;
  events = epoll_create1(0);
  struct epoll_event watch = {.events = EPOLLIN, .data.fd = listener};
  epoll_ctl(events, EPOLL_CTL_ADD, listener, &watch);
  for (;;) {
    struct epoll_event happened[256];
    int count = epoll_wait(events, happened, 256, -1);
    for (int index = 0; index < count; index++) {
      int fd = happened[index].data.fd;
      if (fd == listener) {
        while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
          if (fd >= DESCRIPTORS || !(connections[fd] = calloc(1, sizeof(struct connection)))) {
            close(fd);
            continue;
          }
          setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
          struct epoll_event added = {.events = EPOLLIN, .data.fd = fd};
          epoll_ctl(events, EPOLL_CTL_ADD, fd, &added);
        }
        continue;
      }
      struct connection *c = connections[fd];
      if (!c) continue;
      if ((happened[index].events & EPOLLOUT) && !flush_answer(fd, c)) drop(fd);
      else if ((happened[index].events & ~(unsigned)EPOLLOUT) && !receive(fd, c)) drop(fd);
    }
  }
}
