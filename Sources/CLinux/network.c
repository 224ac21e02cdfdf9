// What a worker makes in a pod's network namespace before the pod is told what it is.
#include "clinux.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define INTERFACE "eth0"

static int closing(int fd) {
  int error = errno;
  close(fd);
  errno = error;
  return -1;
}

/* What is done in another network namespace, and how it went. */
struct errand {
  int pidfd, result, error;
  int (*work)(uint16_t port);
  uint16_t port;
};

static int go(void *given) {
  struct errand *errand = given;
  errand->result = setns(errand->pidfd, CLONE_NEWNET) == 0 ? errand->work(errand->port) : -1;
  errand->error = errno;
  return 0;
}

/* A child that shares memory and descriptors goes, and ends there, before this returns. */
static int send_child(struct errand *errand) {
  _Alignas(16) char stack[16384];
  sigset_t all, before;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &before);
  pid_t pid = clone(go, stack + sizeof stack, CLONE_VM | CLONE_VFORK | CLONE_FILES, errand);
  int error = errno;
  sigprocmask(SIG_SETMASK, &before, NULL);
  errno = error;
  if (pid < 0) return -1;
  while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR) {
  }
  errno = errand->error;
  return errand->result;
}

/* What is made belongs to the namespace it was made in. `home` is -1 where nobody may come back from there. */
static int in_netns(int pidfd, int home, int (*work)(uint16_t), uint16_t port) {
  struct errand errand = {.pidfd = pidfd, .result = -1, .work = work, .port = port};
  if (home < 0) return send_child(&errand);
  if (setns(pidfd, CLONE_NEWNET) != 0) return -1;
  int result = work(port), error = errno;
  // It was allowed when `home` was opened (apus_netns_home); a thread that cannot leave a pod must not go on.
  if (setns(home, CLONE_NEWNET) != 0) abort();
  errno = error;
  return result;
}

int apus_netns_home(void) {
  int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  if (home < 0 || setns(home, CLONE_NEWNET) == 0) return home;
  // The host's namespace is not of the user namespace in which we are root.
  close(home);
  errno = 0;
  return -1;
}

static int unconnected(uint16_t port) {
  (void)port;
  return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

int apus_netns_socket(int pidfd, int home) { return in_netns(pidfd, home, unconnected, 0); }

static struct sockaddr address_of(uint32_t address, uint16_t port) {
  struct sockaddr_in internet = {
    .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(address)};
  struct sockaddr general;
  memcpy(&general, &internet, sizeof general);
  return general;
}

static int listening(uint16_t port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  struct sockaddr address = address_of(INADDR_LOOPBACK, port);
  if (bind(fd, &address, sizeof address) != 0 || listen(fd, SOMAXCONN) != 0) return closing(fd);
  return fd;
}

int apus_netns_listen(int pidfd, uint16_t port, int home) { return in_netns(pidfd, home, listening, port); }

static int request(int socket, unsigned long number, struct ifreq *what) {
  memcpy(what->ifr_name, INTERFACE, sizeof INTERFACE);
  return ioctl(socket, number, what);
}

static int configure(void) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  struct ifreq address = {.ifr_addr = address_of(APUS_EGRESS_POD, 0)};
  struct ifreq mask = {.ifr_netmask = address_of(APUS_EGRESS_MASK, 0)};
  struct ifreq mtu = {.ifr_mtu = (int)APUS_EGRESS_MTU};
  struct ifreq flags = {.ifr_flags = IFF_UP | IFF_RUNNING};
  struct rtentry route = {
    .rt_dst = address_of(0, 0), .rt_genmask = address_of(0, 0), .rt_gateway = address_of(APUS_EGRESS_GATEWAY, 0),
    .rt_flags = RTF_UP | RTF_GATEWAY};
  if (request(fd, SIOCSIFADDR, &address) != 0 || request(fd, SIOCSIFNETMASK, &mask) != 0 ||
      request(fd, SIOCSIFMTU, &mtu) != 0 || request(fd, SIOCSIFFLAGS, &flags) != 0 ||
      ioctl(fd, SIOCADDRT, &route) != 0)
    return closing(fd);
  close(fd);
  return 0;
}

static int tap(uint16_t port) {
  (void)port;
  int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return -1;
  struct ifreq interface = {.ifr_flags = IFF_TAP | IFF_NO_PI};
  if (request(fd, TUNSETIFF, &interface) != 0 || configure() != 0) return closing(fd);
  return fd;
}

int apus_netns_tap(int pidfd, int home) { return in_netns(pidfd, home, tap, 0); }
