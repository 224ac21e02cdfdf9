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
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define INTERFACE "eth0"

static int closing(int fd) {
  int error = errno;
  close(fd);
  errno = error;
  return -1;
}

/* Back in the namespace of the worker, with errno as it was. */
static int returning(int result, int home) {
  int error = errno;
  setns(home, CLONE_NEWNET);
  errno = error;
  return result;
}

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

int apus_netns_listen(int pidfd, uint16_t port, int home) {
  if (setns(pidfd, CLONE_NEWNET) != 0) return -1;
  return returning(listening(port), home);
}

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

static int tap(void) {
  int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return -1;
  struct ifreq interface = {.ifr_flags = IFF_TAP | IFF_NO_PI};
  if (request(fd, TUNSETIFF, &interface) != 0 || configure() != 0) return closing(fd);
  return fd;
}

int apus_netns_tap(int pidfd, int home) {
  if (setns(pidfd, CLONE_NEWNET) != 0) return -1;
  return returning(tap(), home);
}
