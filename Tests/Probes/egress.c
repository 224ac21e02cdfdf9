// What a pod tries to reach, one attempt for each argument, each in a process of its own. Prints one line each:
// ATTEMPT open ANSWER | ATTEMPT blocked WHY.
//   tcp:ADDRESS:PORT       connects and reads what the server says
//   bound:ADDRESS:PORT     the same from a socket tied to the interface: past the routes
//   directed:ADDRESS:PORT  the same with IP_UNICAST_IF
//   udp:ADDRESS:PORT       sends "ask" and reads the answer
//   steered:ADDRESS:PORT   the same with IP_PKTINFO naming the interface
//   dns:NAME               asks the resolver of /etc/resolv.conf for an address
//   change:WHAT            route, address, down, mtu, interface, forward: changes of the pod's own network
// Built by the tests with: cc -static egress.c
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static char answer[256];

static int tied(int fd, const char *how) {
  if (strcmp(how, "bound") == 0) return setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5);
  if (strcmp(how, "directed") == 0) {
    uint32_t index = htonl(if_nametoindex("eth0"));
    return setsockopt(fd, IPPROTO_IP, 50 /* IP_UNICAST_IF */, &index, sizeof index);
  }
  return 0;
}

static int patient(int type) {
  int fd = socket(AF_INET, type, 0);
  struct timeval wait = {.tv_sec = 3};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
  return fd;
}

static int read_answer(int fd) {
  ssize_t count = recv(fd, answer, sizeof answer - 1, 0);
  if (count < 0) return 0;
  answer[count] = 0;
  return 1;
}

static int tcp(const char *how, struct sockaddr_in to) {
  int fd = patient(SOCK_STREAM);
  if (tied(fd, how) != 0) return 0;
  if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) return 0;
  // A server that says nothing was reached all the same.
  if (!read_answer(fd)) strcpy(answer, "-");
  return 1;
}

static int udp(const char *how, struct sockaddr_in to) {
  int fd = patient(SOCK_DGRAM);
  struct iovec part = {"ask", 3};
  union {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(sizeof(struct in_pktinfo))];
  } control;
  memset(&control, 0, sizeof control);
  struct msghdr message = {.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &part, .msg_iovlen = 1};
  if (strcmp(how, "steered") == 0) {
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = IPPROTO_IP;
    head->cmsg_type = IP_PKTINFO;
    head->cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo));
    struct in_pktinfo *info = (struct in_pktinfo *)CMSG_DATA(head);
    info->ipi_ifindex = (int)if_nametoindex("eth0");
  }
  return sendmsg(fd, &message, 0) == 3 && read_answer(fd);
}

/* A question for the A record of a name, and the last four bytes of its answer. */
static int dns(const char *name) {
  FILE *file = fopen("/etc/resolv.conf", "r");
  char line[128] = "", server[64] = "";
  while (file != NULL && fgets(line, sizeof line, file) != NULL) {
    if (sscanf(line, "nameserver %63s", server) == 1) break;
  }
  uint8_t question[256] = {0x12, 0x34, 1, 0, 0, 1};
  size_t length = 12;
  for (const char *label = name; *label != 0;) {
    size_t size = strcspn(label, ".");
    question[length++] = (uint8_t)size;
    memcpy(question + length, label, size);
    length += size;
    label += size + (label[size] == '.');
  }
  const uint8_t tail[] = {0, 0, 1, 0, 1};
  memcpy(question + length, tail, sizeof tail);
  length += sizeof tail;
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(53)};
  if (inet_pton(AF_INET, server, &to.sin_addr) != 1) return 0;
  int fd = patient(SOCK_DGRAM);
  if (sendto(fd, question, length, 0, (struct sockaddr *)&to, sizeof to) < 0) return 0;
  uint8_t reply[512];
  ssize_t count = recv(fd, reply, sizeof reply, 0);
  if (count < 16) return 0;
  snprintf(answer, sizeof answer, "%u.%u.%u.%u", reply[count - 4], reply[count - 3], reply[count - 2], reply[count - 1]);
  return 1;
}

static struct sockaddr general(uint32_t address) {
  struct sockaddr_in internet = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
  struct sockaddr result;
  memcpy(&result, &internet, sizeof result);
  return result;
}

static int change(const char *what) {
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  struct ifreq request = {.ifr_name = "eth0"};
  if (strcmp(what, "route") == 0) {
    struct rtentry route = {.rt_dst = general(0x0a000000), .rt_genmask = general(0xff000000),
                            .rt_gateway = general(0xc0000001), .rt_flags = RTF_UP | RTF_GATEWAY};
    return ioctl(fd, SIOCADDRT, &route) == 0;
  }
  if (strcmp(what, "address") == 0) {
    request.ifr_addr = general(0xc0000004);
    return ioctl(fd, SIOCSIFADDR, &request) == 0;
  }
  if (strcmp(what, "down") == 0) return ioctl(fd, SIOCSIFFLAGS, &request) == 0;
  if (strcmp(what, "mtu") == 0) {
    request.ifr_mtu = 1400;
    return ioctl(fd, SIOCSIFMTU, &request) == 0;
  }
  if (strcmp(what, "interface") == 0) {
    int tun = open("/dev/net/tun", O_RDWR);
    request.ifr_flags = IFF_TAP;
    return tun >= 0 && ioctl(tun, TUNSETIFF, &request) == 0;
  }
  int file = open("/proc/sys/net/ipv4/ip_forward", O_WRONLY);
  return file >= 0 && write(file, "1", 1) == 1;
}

static int attempt(const char *text) {
  char how[16] = "", address[64] = "";
  unsigned port = 0;
  if (sscanf(text, "%15[^:]:%63[^:]:%u", how, address, &port) < 2) return 0;
  if (strcmp(how, "dns") == 0) return dns(address);
  if (strcmp(how, "change") == 0) return change(address);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  if (inet_pton(AF_INET, address, &to.sin_addr) != 1) return 0;
  return strcmp(how, "udp") == 0 || strcmp(how, "steered") == 0 ? udp(how, to) : tcp(how, to);
}

int main(int count, char **arguments) {
  for (int i = 1; i < count; i++) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
      alarm(8);
      errno = 0;
      int open = attempt(arguments[i]);
      printf("%s %s %s\n", arguments[i], open ? "open" : "blocked", open ? answer : strerrorname_np(errno));
      fflush(stdout);
      _exit(0);
    }
    int how = 0;
    waitpid(pid, &how, 0);
    if (!WIFEXITED(how)) printf("%s blocked signal-%d\n", arguments[i], WTERMSIG(how));
  }
  fflush(stdout);
  return 0;
}
