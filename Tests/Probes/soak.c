/* The function of the soaks: an HTTP/1.1 server on $PORT that can be held to its word.
 *
 * A target ends in /NONCE?KIND,IN_OFFSET,IN_LENGTH,OUT_OFFSET,OUT_LENGTH,HOLD_MS. The request's body must be that part
 * of a pattern both sides know, and the answer is "NONCE REVISION IN_LENGTH\n" and another part of it, chunked when its
 * length is odd. The nonce is on standard output before the first byte of the answer is sent: that is the ledger of
 * what ran. KIND: ok; always (answers 500); twice (500 for the first two runs of a nonce in this pod). */
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
#include <sys/uio.h>
#include <unistd.h>

enum { CONNECTIONS = 900, PATTERN = 256 * 1024, ROOM = 256 * 1024, NONCE = 64, SEEN = 1 << 16 };

struct connection {
  char *bytes;
  size_t count;
};

struct ask {
  char nonce[NONCE], kind[16];
  size_t in_offset, in_length, out_offset, out_length;
  unsigned hold;
};

static struct pollfd polled[CONNECTIONS + 1];
static struct connection connections[CONNECTIONS + 1];
static char pattern[PATTERN];
static const char *revision = "none", *pod = "none";
static volatile sig_atomic_t stopping;
/* Bytes of a line of nonces: many in one, because lines are limited to so many a second; $LINE. */
static size_t line, line_most = 1;
static struct {
  char nonce[NONCE];
  int runs;
} seen[SEEN];

static void stop(int number) {
  (void)number;
  stopping = 1;
}

/* Park and Miller, so that a script whose numbers are doubles makes the same. */
static void fill(void) {
  unsigned long long x = 1;
  for (size_t i = 0; i < PATTERN; i++) {
    x = x * 16807 % 2147483647;
    pattern[i] = (char)('a' + x % 26);
  }
}

/* Writes that a nonce runs. */
static void note(const char *nonce) {
  char text[NONCE + 2];
  int size = snprintf(text, sizeof text, "%s ", nonce);
  line += (size_t)size;
  if (line >= line_most) text[size - 1] = '\n', line = 0;
  if (write(1, text, (size_t)size) != size) exit(3);
}

/* Runs of a nonce in this pod before this one. */
static int before(const char *nonce) {
  unsigned long hash = 5381;
  for (const char *at = nonce; *at; at++) hash = hash * 33 + (unsigned char)*at;
  for (unsigned long i = 0; i < SEEN; i++) {
    unsigned long slot = (hash + i) % SEEN;
    if (seen[slot].nonce[0] && strcmp(seen[slot].nonce, nonce) != 0) continue;
    strcpy(seen[slot].nonce, nonce);
    return seen[slot].runs++;
  }
  exit(4);
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

static int refuse(int fd, const char *why) {
  char text[256];
  int size = snprintf(text, sizeof text, "HTTP/1.1 422 Bad\r\nContent-Length: %zu\r\n\r\n%s", strlen(why), why);
  return send_all(fd, text, (size_t)size, 0);
}

/* The value of a header field in a head that ends with an empty line, or NULL. */
static const char *field(const char *head, const char *name) {
  size_t size = strlen(name);
  for (const char *at = strstr(head, "\r\n"); at && at[2] != '\r'; at = strstr(at + 2, "\r\n")) {
    if (strncasecmp(at + 2, name, size) != 0 || at[2 + size] != ':') continue;
    const char *value = at + 3 + size;
    while (*value == ' ') value++;
    return value;
  }
  return NULL;
}

static int parse(const char *head, struct ask *ask) {
  const char *end = strstr(head, "\r\n"), *query = memchr(head, '?', (size_t)(end - head)), *slash = query;
  if (!query) return -1;
  while (slash > head && slash[-1] != '/') slash--;
  if (query - slash <= 0 || query - slash >= NONCE) return -1;
  memcpy(ask->nonce, slash, (size_t)(query - slash));
  ask->nonce[query - slash] = 0;
  int got = sscanf(query, "?%15[a-z],%zu,%zu,%zu,%zu,%u", ask->kind, &ask->in_offset, &ask->in_length,
                   &ask->out_offset, &ask->out_length, &ask->hold);
  return got == 6 && ask->in_offset + ask->in_length <= PATTERN && ask->out_offset + ask->out_length <= PATTERN ? 0 : -1;
}

static int run(int fd, const struct ask *ask, const char *body, size_t count) {
  note(ask->nonce);
  if (count != ask->in_length || memcmp(body, pattern + ask->in_offset, count) != 0)
    return refuse(fd, "the request's body is not what was sent\n");
  if (ask->hold) usleep(ask->hold * 1000);
  int fails = strcmp(ask->kind, "always") == 0 || (strcmp(ask->kind, "twice") == 0 && before(ask->nonce) < 2);
  const char *status = fails ? "500 Internal Server Error" : "200 OK";
  char first[256], head[512], size[32];
  int words = snprintf(first, sizeof first, "%s %s %zu\n", ask->nonce, revision, count);
  size_t total = (size_t)words + ask->out_length;
  const char *part = pattern + ask->out_offset;
  if (ask->out_length % 2 == 0) {
    snprintf(head, sizeof head, "HTTP/1.1 %s\r\nX-Nonce: %s\r\nX-Pod: %s\r\nContent-Length: %zu\r\n\r\n", status,
             ask->nonce, pod, total);
    return send_all(fd, head, strlen(head), MSG_MORE) || send_all(fd, first, (size_t)words, total > (size_t)words ? MSG_MORE : 0) ||
           send_all(fd, part, ask->out_length, 0);
  }
  snprintf(head, sizeof head, "HTTP/1.1 %s\r\nX-Nonce: %s\r\nX-Pod: %s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n",
           status, ask->nonce, pod, (unsigned)words);
  snprintf(size, sizeof size, "\r\n%zx\r\n", ask->out_length);
  return send_all(fd, head, strlen(head), MSG_MORE) || send_all(fd, first, (size_t)words, MSG_MORE) ||
         send_all(fd, size, strlen(size), MSG_MORE) || send_all(fd, part, ask->out_length, MSG_MORE) ||
         send_all(fd, "\r\n0\r\n\r\n", 7, 0);
}

/* Decodes a chunked body in place. Bytes used of it, 0 when it is not all there, -1 when it is wrong. */
static ssize_t unchunk(char *bytes, size_t count, size_t *body) {
  size_t at = 0;
  *body = 0;
  for (;;) {
    char *end = memmem(bytes + at, count - at, "\r\n", 2), *stop_at;
    if (!end) return count - at > 256 ? -1 : 0;
    unsigned long size = strtoul(bytes + at, &stop_at, 16);
    if (stop_at == bytes + at || size > ROOM) return -1;
    at = (size_t)(end - bytes) + 2;
    if (count - at < size + 2) return 0;
    memmove(bytes + *body, bytes + at, size);
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
    if (!end) return 0;
    size_t head = (size_t)(end - c->bytes) + 4, body = 0, used;
    struct ask ask = {0};
    const char *length = field(c->bytes, "Content-Length");
    int wrong = parse(c->bytes, &ask);
    if (field(c->bytes, "Transfer-Encoding")) {
      /* What does not come whole is decoded again from the start, so in a copy. */
      char *copy = malloc(c->count - head + 1);
      if (!copy) return -1;
      memcpy(copy, c->bytes + head, c->count - head);
      ssize_t took = unchunk(copy, c->count - head, &body);
      int failed = took > 0 ? (wrong ? refuse(fd, "bad target\n") : run(fd, &ask, copy, body)) : 0;
      free(copy);
      if (took <= 0) return (int)took;
      if (failed) return -1;
      used = head + (size_t)took;
    } else {
      body = length ? strtoul(length, NULL, 10) : 0;
      if (body > ROOM) return -1;
      if (c->count - head < body) return 0;
      if (wrong ? refuse(fd, "bad target\n") : run(fd, &ask, c->bytes + head, body)) return -1;
      used = head + body;
    }
    memmove(c->bytes, c->bytes + used, c->count - used);
    c->count -= used;
  }
}

static int readable(int fd, struct connection *c) {
  if (!c->bytes && !(c->bytes = malloc(2 * ROOM + 1))) return -1;
  if (c->count == 2 * ROOM) return -1;
  ssize_t got = recv(fd, c->bytes + c->count, 2 * ROOM - c->count, 0);
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
  if (getenv("APUS_REVISION")) revision = getenv("APUS_REVISION");
  if (getenv("LINE")) line_most = strtoul(getenv("LINE"), NULL, 10);
  if (getenv("APUS_POD")) pod = getenv("APUS_POD");
  fill();
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
