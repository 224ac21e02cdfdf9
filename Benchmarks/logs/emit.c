/* A function that logs: after its first call it writes $RATE lines a second for $SECONDS, each with its number and the
 * nanosecond at which it was written; every $PROBE-th line says so. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { TICKS = 200 };

static long number(const char *name, long other) {
  const char *text = getenv(name);
  return text ? atol(text) : other;
}

static long long now(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void *emit(void *unused) {
  (void)unused;
  const long rate = number("RATE", 4000), seconds = number("SECONDS", 20), probe = number("PROBE", 100);
  const char *name = getenv("APUS_FUNCTION");
  static char text[1 << 20];
  const long long start = now(CLOCK_MONOTONIC);
  long line = 0;
  for (long tick = 0; tick < seconds * TICKS; tick++) {
    size_t size = 0;
    for (long until = rate * (tick + 1) / TICKS; line < until; line++) {
      const char *word = line % probe == 0 ? "probe" : "order paid";
      size += (size_t)snprintf(text + size, sizeof text - size,
                               "{\"level\":\"info\",\"msg\":\"%s\",\"n\":%ld,\"at\":%lld,\"id\":\"%s-%ld\","
                               "\"path\":\"/api/orders/%ld\",\"status\":200,\"duration_ms\":%ld.50}\n",
                               word, line, now(CLOCK_REALTIME), name ? name : "f", line, line % 977, line % 250);
    }
    for (size_t done = 0; done < size;) {
      ssize_t count = write(1, text + done, size - done);
      if (count <= 0) return NULL;
      done += (size_t)count;
    }
    long long next = start + (tick + 1) * (1000000000LL / TICKS);
    struct timespec wake = {.tv_sec = next / 1000000000LL, .tv_nsec = next % 1000000000LL};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wake, NULL);
  }
  dprintf(1, "{\"msg\":\"emitted\",\"lines\":%ld}\n", line);
  return NULL;
}

int main(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)number("PORT", 8080))};
  int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), begun = 0;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 16)) {
    perror("cannot listen on $PORT");
    return 1;
  }
  for (;;) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) continue;
    char head[65536];
    size_t count = 0;
    while (count < sizeof head && !memmem(head, count, "\r\n\r\n", 4)) {
      ssize_t got = read(fd, head + count, sizeof head - count);
      if (got <= 0) break;
      count += (size_t)got;
    }
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";
    send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL);
    close(fd);
    pthread_t thread;
    if (count && !begun++) pthread_create(&thread, NULL, emit, NULL);
  }
}
