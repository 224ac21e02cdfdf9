/* A server on $PORT that begins its answer at once and ends it when the caller has gone, or after $HOLD seconds: a pod
 * that is busy for as long as the benchmark looks. One call at a time. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD_BYTES = 64 * 1024 };

static void hold(int fd, const char *pod, int seconds) {
  char head[HEAD_BYTES];
  size_t count = 0;
  while (count == 0 || !memmem(head, count, "\r\n\r\n", 4)) {
    ssize_t got = read(fd, head + count, sizeof head - count);
    if (got <= 0) return;
    count += (size_t)got;
  }
  char answer[512];
  int size = snprintf(answer, sizeof answer,
                      "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n"
                      "Connection: close\r\n\r\n%zx\r\n%s\n\r\n",
                      strlen(pod) + 1, pod);
  if (send(fd, answer, (size_t)size, MSG_NOSIGNAL) != size) return;
  struct pollfd gone = {.fd = fd, .events = POLLRDHUP};
  poll(&gone, 1, seconds * 1000);
  send(fd, "0\r\n\r\n", 5, MSG_NOSIGNAL);
}

int main(void) {
  const char *port = getenv("PORT"), *pod = getenv("APUS_POD"), *seconds = getenv("HOLD");
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port ? port : "8080"))};
  int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 16)) {
    perror("cannot listen on $PORT");
    return 1;
  }
  for (;;) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) continue;
    hold(fd, pod ? pod : "pod", seconds ? atoi(seconds) : 5);
    close(fd);
  }
}
