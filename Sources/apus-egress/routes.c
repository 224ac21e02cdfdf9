// Is an address this host's own? Its routes know: all its addresses, those that came a moment ago, broadcasts, groups,
// and what its operator closed. An answer holds for a second.
#include "egress.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REMEMBERED 256 /* addresses; a power of two */
#define HOLDS_NS 1000000000ll

struct known {
  uint32_t address;
  int away;
  int64_t until;
};

static struct known known[REMEMBERED];
static uint32_t sequence;

int routes_open(void) { return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE); }

static int ask(int routes, uint32_t address) {
  struct {
    struct nlmsghdr head;
    struct rtmsg route;
    struct rtattr attribute;
    uint32_t destination;
  } question;
  memset(&question, 0, sizeof question);
  question.head.nlmsg_len = sizeof question;
  question.head.nlmsg_type = RTM_GETROUTE;
  question.head.nlmsg_flags = NLM_F_REQUEST;
  question.head.nlmsg_seq = ++sequence;
  question.route.rtm_family = AF_INET;
  question.route.rtm_dst_len = 32;
  question.attribute.rta_type = RTA_DST;
  question.attribute.rta_len = RTA_LENGTH(4);
  question.destination = htonl(address);
  struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
  if (sendto(routes, &question, sizeof question, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0) return 0;
  for (;;) {
    union {
      struct nlmsghdr head;
      uint8_t bytes[4096];
    } answer;
    ssize_t length = recv(routes, &answer, sizeof answer, 0);
    if (length < 0 && errno == EINTR) continue;
    if (length < (ssize_t)sizeof answer.head || answer.head.nlmsg_len > (size_t)length) return 0;
    if (answer.head.nlmsg_seq != sequence) continue;
    // An error is "no way there", and that is no way out either.
    if (answer.head.nlmsg_type != RTM_NEWROUTE || answer.head.nlmsg_len < NLMSG_LENGTH(sizeof(struct rtmsg))) return 0;
    const struct rtmsg *route = NLMSG_DATA(&answer.head);
    return route->rtm_type == RTN_UNICAST;
  }
}

int routes_lead_away(int routes, uint32_t address) {
  struct known *place = &known[(address * 2654435761u) >> 24 & (REMEMBERED - 1)];
  int64_t now = monotonic_ns();
  if (place->address == address && now < place->until) return place->away;
  *place = (struct known){.address = address, .away = ask(routes, address), .until = now + HOLDS_NS};
  return place->away;
}
