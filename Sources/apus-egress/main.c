// apus-egress: the way out of one pod with `egress: internet`.
//
// It reads the Ethernet frames the pod sends (descriptor 3 is the interface in the pod's network namespace), judges each
// by apus_egress.h and the host's routes, and gives what passes to libslirp, a TCP/IP stack in user space, which opens
// ordinary sockets for it. Nothing of the host is configured for that, and nothing of the pod is: a pod cannot reach what
// this process does not open, whatever it does to its own routes.
//
// It is a pod itself, of another user and with the host's network: private root, no capability, the pods' filter and
// one of its own on top. It shares the control groups of the pod it serves, whose memory and processor it uses.
//
//   apus-egress [RANGE…]      ranges of addresses this node opens although they are not public, 10.0.0.0/8
#include "apus_egress.h"
#include "egress.h"
#include "slirp_abi.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TAP_FD 3
#define WATCHED_MAX 1024 /* descriptors; the pod has no more connections than that */
#define FRAMES_AT_ONCE 64

static struct slirp_library library;
static struct slirp *stack;
static struct apus_egress_range opened[APUS_EGRESS_RANGES_MAX];
static size_t opened_count;
static struct pollfd watched[WATCHED_MAX];
static int watched_count;
static int routes;

int64_t monotonic_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

__attribute__((noreturn)) static void fail(const char *what, const char *why) {
  fprintf(stderr, "apus-egress: %s: %s\n", what, why);
  exit(1);
}

/* To the pod; what its queue does not take is lost, as on any wire. */
static ssize_t send_frame(const void *frame, size_t length, void *context) {
  (void)context;
  ssize_t ignored = write(TAP_FD, frame, length);
  (void)ignored;
  return (ssize_t)length;
}

static void note(const char *text, void *context) {
  (void)text;
  (void)context;
}

static int64_t clock_ns(void *context) {
  (void)context;
  return monotonic_ns();
}

/* libslirp's only timer tells of IPv6 routers, of which there are none here. */
static void *timer_new(void (*fire)(void *), void *of, void *context) {
  (void)fire;
  (void)of;
  return context;
}
static void timer_free(void *timer, void *context) {
  (void)timer;
  (void)context;
}
static void timer_set(void *timer, int64_t milliseconds, void *context) {
  (void)timer;
  (void)milliseconds;
  (void)context;
}
static void watch(int fd, void *context) {
  (void)fd;
  (void)context;
}
static void notify(void *context) { (void)context; }

static int add_watched(int fd, int events, void *context) {
  (void)context;
  if (watched_count == WATCHED_MAX) return -1;
  short wanted = 0;
  if (events & SLIRP_IN) wanted |= POLLIN;
  if (events & SLIRP_OUT) wanted |= POLLOUT;
  if (events & SLIRP_PRIORITY) wanted |= POLLPRI;
  watched[watched_count] = (struct pollfd){.fd = fd, .events = wanted};
  return watched_count++;
}

static int happened(int index, void *context) {
  (void)context;
  if (index < 0 || index >= watched_count) return 0;
  short got = watched[index].revents;
  int events = 0;
  if (got & POLLIN) events |= SLIRP_IN;
  if (got & POLLOUT) events |= SLIRP_OUT;
  if (got & POLLPRI) events |= SLIRP_PRIORITY;
  if (got & POLLERR) events |= SLIRP_ERROR;
  if (got & POLLHUP) events |= SLIRP_HANGUP;
  return events;
}

static void take(const uint8_t *frame, size_t length) {
  struct apus_egress_judgement judgement = apus_egress_judge(frame, length, opened, opened_count);
  if (judgement.verdict == APUS_EGRESS_ROUTE && !routes_lead_away(routes, judgement.destination))
    judgement.verdict = APUS_EGRESS_REFUSE;
  if (judgement.verdict == APUS_EGRESS_PASS || judgement.verdict == APUS_EGRESS_ROUTE) {
    library.input(stack, frame, (int)length);
  } else if (judgement.verdict == APUS_EGRESS_REFUSE) {
    uint8_t answer[APUS_EGRESS_ANSWER_MAX];
    size_t size = apus_egress_answer(frame, length, answer);
    if (size > 0) send_frame(answer, size, NULL);
  }
}

/* What the pod sent; the pod's end is ours. */
static void read_frames(void) {
  static uint8_t frame[APUS_EGRESS_FRAME_MAX + 64];
  for (int i = 0; i < FRAMES_AT_ONCE; i++) {
    ssize_t length = read(TAP_FD, frame, sizeof frame);
    if (length < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (length <= 0) exit(0);
    take(frame, (size_t)length);
  }
}

/* 10.0.0.0/8 */
static void open_range(const char *text) {
  char address[INET_ADDRSTRLEN];
  struct in_addr parsed;
  unsigned prefix = 32;
  size_t length = strcspn(text, "/");
  if (length >= sizeof address) fail("not a range", text);
  memcpy(address, text, length);
  address[length] = 0;
  if (inet_pton(AF_INET, address, &parsed) != 1) fail("not a range", text);
  if (text[length] == '/') {
    char *end;
    prefix = (unsigned)strtoul(text + length + 1, &end, 10);
    if (*end != 0 || end == text + length + 1 || prefix > 32) fail("not a range", text);
  }
  if (opened_count == APUS_EGRESS_RANGES_MAX) fail("too many ranges", text);
  uint32_t mask = prefix == 0 ? 0 : ~0u << (32 - prefix);
  opened[opened_count++] = (struct apus_egress_range){.network = ntohl(parsed.s_addr) & mask, .mask = mask};
}

static void *symbol(void *handle, const char *name) {
  void *found = dlsym(handle, name);
  if (found == NULL) fail("libslirp has no", name);
  return found;
}

static void load(void) {
  void *handle = dlopen("libslirp.so.0", RTLD_NOW);
  if (handle == NULL) fail("libslirp.so.0", dlerror());
  *(void **)&library.new = symbol(handle, "slirp_new");
  *(void **)&library.fill = symbol(handle, "slirp_pollfds_fill");
  *(void **)&library.poll = symbol(handle, "slirp_pollfds_poll");
  *(void **)&library.input = symbol(handle, "slirp_input");
}

static void make_stack(void) {
  static const struct slirp_callbacks callbacks = {
    .send = send_frame, .guest_error = note, .clock_ns = clock_ns, .timer_new = timer_new, .timer_free = timer_free,
    .timer_set = timer_set, .watch = watch, .unwatch = watch, .notify = notify,
  };
  struct slirp_configuration wanted = {
    .version = 3, .ipv4 = true, .network = {htonl(APUS_EGRESS_NETWORK)}, .mask = {htonl(APUS_EGRESS_MASK)},
    .host = {htonl(APUS_EGRESS_GATEWAY)}, .dhcp_start = {htonl(APUS_EGRESS_POD)}, .dns = {htonl(APUS_EGRESS_DNS)},
    .mtu = APUS_EGRESS_MTU, .mru = APUS_EGRESS_MTU, .without_loopback = true,
  };
  stack = library.new(&wanted, &callbacks, &library);
  if (stack == NULL) fail("libslirp", "it made no stack");
}

int main(int count, char **arguments) {
  for (int i = 1; i < count; i++) open_range(arguments[i]);
  load();
  make_stack();
  routes = routes_open();
  if (routes < 0) fail("asking for routes", strerror(errno));
  if (fcntl(TAP_FD, F_SETFL, O_NONBLOCK) != 0) fail("descriptor 3", strerror(errno));
  if (filter_install() != 0) fail("installing the filter", strerror(errno));
  for (;;) {
    uint32_t timeout = UINT32_MAX;
    watched[0] = (struct pollfd){.fd = TAP_FD, .events = POLLIN};
    watched_count = 1;
    library.fill(stack, &timeout, add_watched, NULL);
    int ready = poll(watched, (nfds_t)watched_count, timeout > 1000000 ? -1 : (int)timeout);
    if (ready < 0 && errno != EINTR) fail("poll", strerror(errno));
    library.poll(stack, ready < 0, happened, NULL);
    if (watched[0].revents & (POLLIN | POLLERR | POLLHUP | POLLNVAL)) read_frames();
  }
}
