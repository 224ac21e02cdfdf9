/* An HTTP/1.1 server on $PORT, as any program can be a function: one thread, poll, keep-alive, no library.
 * Answers "Hello, NAME!", NAME being the body without surrounding blanks, or "world" when it is empty. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS = 900, HEAD_BYTES = 64 * 1024, BODY_BYTES = 16 * 1024 * 1024, CALL_BYTES = 65 };

struct connection {
  char *bytes;
  size_t count, room;
};

static struct pollfd polled[CONNECTIONS + 1];
static struct connection connections[CONNECTIONS + 1];
static volatile sig_atomic_t stopping;

static void stop(int number) {
  (void)number;
  stopping = 1;
}

static int send_all(int fd, const char *bytes, size_t count, int flags) {
  while (count > 0) {
    ssize_t sent = send(fd, bytes, count, MSG_NOSIGNAL | flags);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return -1;
    bytes += sent;
    count -= (size_t)sent;
  }
  return 0;
}

/* The value of a header field in a head that ends with an empty line, or NULL. */
static const char *field(const char *head, const char *name, size_t *length) {
  size_t size = strlen(name);
  for (const char *line = strstr(head, "\r\n"); line && line[2] != '\r'; line = strstr(line + 2, "\r\n")) {
    if (strncasecmp(line + 2, name, size) != 0 || line[2 + size] != ':') continue;
    const char *value = line + 3 + size;
    while (*value == ' ' || *value == '\t') value++;
    *length = (size_t)(strstr(value, "\r\n") - value);
    return value;
  }
  return NULL;
}

static int answer(int fd, const char *status, const char *body, size_t count, int keep) {
  char head[256];
  int size = snprintf(head, sizeof head,
                      "HTTP/1.1 %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n%s\r\n", status,
                      count, keep ? "" : "Connection: close\r\n");
  /* One segment for head and body: apart, the second waits 40 ms for the peer's delayed acknowledgement. */
  return send_all(fd, head, (size_t)size, count > 0 ? MSG_MORE : 0) || send_all(fd, body, count, 0) || !keep ? -1 : 0;
}

static int hello(int fd, const char *head, const char *name, size_t count) {
  size_t length = 0;
  const char *call = field(head, "X-Call-Id", &length);
  if (call && length < CALL_BYTES && strcspn(call, "\"\\") >= length)
    printf("{\"level\":\"info\",\"msg\":\"greeting\",\"call_id\":\"%.*s\",\"bytes\":%zu}\n", (int)length, call, count);
  while (count > 0 && strchr(" \t\r\n\v\f", *name) && *name) name++, count--;
  while (count > 0 && strchr(" \t\r\n\v\f", name[count - 1]) && name[count - 1]) count--;
  if (count == 0) name = "world", count = 5;
  char *text = malloc(count + 8);
  if (!text) return answer(fd, "500 Internal Server Error", "no memory\n", 10, 0);
  memcpy(text, "Hello, ", 7);
  memcpy(text + 7, name, count);
  text[7 + count] = '!';
  int result = answer(fd, "200 OK", text, count + 8, 1);
  free(text);
  return result;
}

/* Decodes a chunked body in place. Bytes used of it, 0 when it is not all there, -1 when it is wrong. */
static ssize_t unchunk(char *bytes, size_t count, size_t *body) {
  size_t at = 0;
  *body = 0;
  for (;;) {
    char *end = memmem(bytes + at, count - at, "\r\n", 2), *stop_at;
    if (!end) return count - at > 256 ? -1 : 0;
    unsigned long size = strtoul(bytes + at, &stop_at, 16);
    if (stop_at == bytes + at || (*stop_at != '\r' && *stop_at != ';') || size > BODY_BYTES) return -1;
    at = (size_t)(end - bytes) + 2;
    if (count - at < size + 2) return 0;
    memmove(bytes + *body, bytes + at, size);
    if (memcmp(bytes + at + size, "\r\n", 2) != 0) return -1;
    *body += size;
    at += size + 2;
    if (size == 0) return (ssize_t)at;
  }
}

/* Answers the requests that are whole. -1 when the connection is done with. */
static int serve(int fd, struct connection *c) {
  for (;;) {
    c->bytes[c->count] = 0;
    char *end = strstr(c->bytes, "\r\n\r\n");
    if (!end) return c->count > HEAD_BYTES ? answer(fd, "431 Request Header Fields Too Large", "", 0, 0) : 0;
    size_t head = (size_t)(end - c->bytes) + 4, length = 0, body = 0, used = head;
    const char *value = field(c->bytes, "Transfer-Encoding", &length);
    if (value) {
      char *copy = malloc(c->count - head + 1);
      if (!copy) return -1;
      memcpy(copy, c->bytes + head, c->count - head);
      copy[c->count - head] = 0;
      ssize_t took = unchunk(copy, c->count - head, &body);
      if (took > 0 && hello(fd, c->bytes, copy, body) != 0) took = -2;
      free(copy);
      if (took == -1) return answer(fd, "400 Bad Request", "bad chunk\n", 10, 0);
      if (took <= 0) return (int)took;
      used += (size_t)took;
    } else {
      value = field(c->bytes, "Content-Length", &length);
      if (value) {
        char *stop_at;
        body = strtoul(value, &stop_at, 10);
        if (*stop_at != '\r' || body > BODY_BYTES) return answer(fd, "413 Content Too Large", "", 0, 0);
      }
      if (c->count - head < body) return 0;
      if (hello(fd, c->bytes, c->bytes + head, body) != 0) return -1;
      used += body;
    }
    memmove(c->bytes, c->bytes + used, c->count - used);
    c->count -= used;
  }
}

static int readable(int fd, struct connection *c) {
  if (c->room < c->count + 65537) {
    size_t room = c->room * 2 + 131072;
    char *grown = room > 2 * (size_t)BODY_BYTES ? NULL : realloc(c->bytes, room);
    if (!grown) return -1;
    c->bytes = grown;
    c->room = room;
  }
  ssize_t got = recv(fd, c->bytes + c->count, 65536, 0);
  if (got < 0 && errno == EINTR) return 0;
  if (got <= 0) return -1;
  c->count += (size_t)got;
  return serve(fd, c);
}

int main(void) {
  const char *port = getenv("PORT");
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port ? port : "8080"))};
  struct sigaction action = {.sa_handler = stop};
  int one = 1, count = 1;
  setvbuf(stdout, NULL, _IOLBF, 0);
  sigaction(SIGTERM, &action, NULL);
  polled[0] = (struct pollfd){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .events = POLLIN};
  setsockopt(polled[0].fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(polled[0].fd, (struct sockaddr *)&address, sizeof address) || listen(polled[0].fd, 1024)) {
    perror("cannot listen on $PORT");
    return 1;
  }
  while (!stopping) {
    if (poll(polled, (nfds_t)count, -1) < 0) continue;
    for (int i = count - 1; i > 0; i--) {
      if (!polled[i].revents || readable(polled[i].fd, &connections[i]) == 0) continue;
      close(polled[i].fd);
      free(connections[i].bytes);
      polled[i] = polled[--count];
      connections[i] = connections[count];
    }
    if (polled[0].revents && count <= CONNECTIONS) {
      int fd = accept4(polled[0].fd, NULL, NULL, SOCK_CLOEXEC);
      if (fd < 0) continue;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      polled[count] = (struct pollfd){.fd = fd, .events = POLLIN};
      connections[count++] = (struct connection){0};
    }
  }
  return 0;
}
