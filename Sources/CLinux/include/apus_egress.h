// What may leave a pod with `egress: internet`: pure decisions over frames, used by apus-egress, which is the only way
// out of such a pod's network namespace, and tested from Swift.
//
// A pod sees one Ethernet interface with the network 192.0.0.0/29 (RFC 7335: addresses that never leave a host):
// .1 is the way out, .2 the pod, .3 answers DNS. Only IPv4 leaves.
#ifndef APUS_EGRESS_H
#define APUS_EGRESS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define APUS_EGRESS_NETWORK 0xc0000000u /* 192.0.0.0 */
#define APUS_EGRESS_MASK 0xfffffff8u    /* /29 */
#define APUS_EGRESS_GATEWAY 0xc0000001u
#define APUS_EGRESS_POD 0xc0000002u
#define APUS_EGRESS_DNS 0xc0000003u
#define APUS_EGRESS_MTU 65520u
#define APUS_EGRESS_FRAME_MAX (APUS_EGRESS_MTU + 14u)
#define APUS_EGRESS_RANGES_MAX 64u /* ranges a node opens */

enum apus_egress_verdict {
  APUS_EGRESS_DROP = 0,   /* no packet of an honest pod */
  APUS_EGRESS_REFUSE = 1, /* the pod is told: administratively prohibited */
  APUS_EGRESS_PASS = 2,
  APUS_EGRESS_ROUTE = 3, /* passes if the host's routes lead to another machine, and not to the host */
};

/* Addresses that `mask` leaves equal to `network`, both in host byte order. */
struct apus_egress_range {
  uint32_t network;
  uint32_t mask;
};

struct apus_egress_judgement {
  enum apus_egress_verdict verdict;
  uint32_t destination; /* host byte order; of ROUTE and REFUSE */
};

static inline int apus_egress_within(uint32_t address, const struct apus_egress_range *ranges, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if ((address & ranges[i].mask) == ranges[i].network) return 1;
  }
  return 0;
}

/// Whether a destination (host byte order) is refused whatever a node opens: this host, link-local with the metadata
/// services of clouds, the network inside the pod, groups, reserved, and 168.63.129.16, where Azure answers its machines
/// (Microsoft, "What is IP address 168.63.129.16?").
static inline int apus_egress_never(uint32_t address) {
  static const struct apus_egress_range never[] = {
    {0x00000000u, 0xff000000u}, {0x7f000000u, 0xff000000u}, {0xa9fe0000u, 0xffff0000u}, {0xc0000000u, 0xffffff00u},
    {0xe0000000u, 0xe0000000u}, {0xa83f8110u, 0xffffffffu},
  };
  return apus_egress_within(address, never, sizeof never / sizeof never[0]);
}

/// Whether a destination is part of no public network: refused unless a node opens its range.
static inline int apus_egress_private(uint32_t address) {
  static const struct apus_egress_range private_ranges[] = {
    {0x0a000000u, 0xff000000u}, /* 10.0.0.0/8 */
    {0x64400000u, 0xffc00000u}, /* 100.64.0.0/10 */
    {0xac100000u, 0xfff00000u}, /* 172.16.0.0/12 */
    {0xc0000200u, 0xffffff00u}, /* 192.0.2.0/24 */
    {0xc0a80000u, 0xffff0000u}, /* 192.168.0.0/16 */
    {0xc6120000u, 0xfffe0000u}, /* 198.18.0.0/15 */
    {0xc6336400u, 0xffffff00u}, /* 198.51.100.0/24 */
    {0xcb007100u, 0xffffff00u}, /* 203.0.113.0/24 */
  };
  return apus_egress_within(address, private_ranges, sizeof private_ranges / sizeof private_ranges[0]);
}

/// What is to become of a destination other than the pod's DNS, with the ranges that this node opens.
static inline enum apus_egress_verdict apus_egress_judge_address(
    uint32_t address, const struct apus_egress_range *open, size_t count) {
  if (apus_egress_never(address)) return APUS_EGRESS_REFUSE;
  if (apus_egress_private(address) && !apus_egress_within(address, open, count)) return APUS_EGRESS_REFUSE;
  return APUS_EGRESS_ROUTE;
}

static inline uint32_t apus_egress_word(const uint8_t *bytes) {
  return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/// Judges an Ethernet frame of the pod.
static inline struct apus_egress_judgement apus_egress_judge(
    const uint8_t *frame, size_t length, const struct apus_egress_range *open, size_t count) {
  struct apus_egress_judgement drop = {APUS_EGRESS_DROP, 0};
  if (length < 14 || length > APUS_EGRESS_FRAME_MAX) return drop;
  uint32_t type = (uint32_t)frame[12] << 8 | frame[13];
  // Who has the way out? IPv4 over Ethernet, asked by the pod's own address.
  if (type == 0x0806) {
    static const uint8_t head[] = {0, 1, 8, 0, 6, 4};
    if (length < 42 || memcmp(frame + 14, head, sizeof head) != 0) return drop;
    return (struct apus_egress_judgement){
      apus_egress_word(frame + 28) == APUS_EGRESS_POD ? APUS_EGRESS_PASS : APUS_EGRESS_DROP, 0};
  }
  if (type != 0x0800 || length < 14 + 20) return drop;
  const uint8_t *packet = frame + 14;
  size_t total = (size_t)packet[2] << 8 | packet[3];
  // Version 4 without options, which could name another way than the destination.
  if (packet[0] != 0x45 || total < 20 || total > length - 14) return drop;
  if (apus_egress_word(packet + 12) != APUS_EGRESS_POD) return drop;
  uint32_t destination = apus_egress_word(packet + 16);
  int protocol = packet[9], fragment = (packet[6] & 0x3f) != 0 || packet[7] != 0;
  if (protocol != 1 && protocol != 6 && protocol != 17) return (struct apus_egress_judgement){APUS_EGRESS_REFUSE, destination};
  if (destination == APUS_EGRESS_DNS) {
    // The host's resolver, and of it nothing but port 53: a piece that shows no port is not let through.
    int asks = !fragment && total >= 24 && protocol != 1 && packet[22] == 0 && packet[23] == 53;
    return (struct apus_egress_judgement){asks ? APUS_EGRESS_PASS : APUS_EGRESS_REFUSE, destination};
  }
  return (struct apus_egress_judgement){apus_egress_judge_address(destination, open, count), destination};
}

static inline uint16_t apus_egress_checksum(const uint8_t *bytes, size_t length) {
  uint32_t sum = 0;
  for (size_t i = 0; i + 1 < length; i += 2) sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
  if (length & 1) sum += (uint32_t)bytes[length - 1] << 8;
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)~sum;
}

#define APUS_EGRESS_ANSWER_MAX 70 /* Ethernet 14, IPv4 20, ICMP 8, the head of what is refused 28 */

/// Writes the answer to a frame that was judged REFUSE: ICMP "communication administratively prohibited" from the way
/// out, so that a connect fails at once. Answers its length; 0 where none is due (an answer to ICMP, to a later piece).
static inline size_t apus_egress_answer(const uint8_t *frame, size_t length, uint8_t *answer) {
  if (length < 14 + 28) return 0;
  const uint8_t *packet = frame + 14;
  if ((packet[6] & 0x1f) != 0 || packet[7] != 0) return 0;
  // Of ICMP only an echo request is answered.
  if (packet[9] == 1 && packet[20] != 8) return 0;
  memset(answer, 0, APUS_EGRESS_ANSWER_MAX);
  memcpy(answer, frame + 6, 6);
  memcpy(answer + 6, frame, 6);
  answer[12] = 8;
  uint8_t *ip = answer + 14, *icmp = ip + 20;
  ip[0] = 0x45;
  ip[3] = 20 + 8 + 28;
  ip[8] = 64;
  ip[9] = 1;
  const uint32_t from = APUS_EGRESS_GATEWAY;
  for (int i = 0; i < 4; i++) ip[12 + i] = (uint8_t)(from >> (24 - 8 * i));
  memcpy(ip + 16, packet + 12, 4);
  icmp[0] = 3;
  icmp[1] = 13;
  memcpy(icmp + 8, packet, 28);
  uint16_t sum = apus_egress_checksum(icmp, 8 + 28);
  icmp[2] = (uint8_t)(sum >> 8);
  icmp[3] = (uint8_t)sum;
  sum = apus_egress_checksum(ip, 20);
  ip[10] = (uint8_t)(sum >> 8);
  ip[11] = (uint8_t)sum;
  return APUS_EGRESS_ANSWER_MAX;
}

#endif
