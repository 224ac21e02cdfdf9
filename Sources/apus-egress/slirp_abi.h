// What libslirp's stable interface looks like from here (libslirp 4.3 and later, configuration version 3), so that apus
// builds without its headers and a node without it runs everything but `egress: internet`.
#ifndef APUS_SLIRP_ABI_H
#define APUS_SLIRP_ABI_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct slirp;

enum { SLIRP_IN = 1, SLIRP_OUT = 2, SLIRP_PRIORITY = 4, SLIRP_ERROR = 8, SLIRP_HANGUP = 16 };

struct slirp_configuration {
  uint32_t version;
  int restricted;
  bool ipv4;
  struct in_addr network, mask, host;
  bool ipv6;
  struct in6_addr prefix6;
  uint8_t prefix6_length;
  struct in6_addr host6;
  const char *host_name, *tftp_server, *tftp_path, *boot_file;
  struct in_addr dhcp_start, dns;
  struct in6_addr dns6;
  const char **search;
  const char *domain;
  size_t mtu, mru;
  bool without_loopback;
  bool emulation;
  struct sockaddr_in *outbound;   /* from version 2 */
  struct sockaddr_in6 *outbound6;
  bool without_dns; /* from version 3 */
};

struct slirp_callbacks {
  ssize_t (*send)(const void *frame, size_t length, void *context);
  void (*guest_error)(const char *text, void *context);
  int64_t (*clock_ns)(void *context);
  void *(*timer_new)(void (*fire)(void *), void *of, void *context);
  void (*timer_free)(void *timer, void *context);
  void (*timer_set)(void *timer, int64_t milliseconds, void *context);
  void (*watch)(int fd, void *context);
  void (*unwatch)(int fd, void *context);
  void (*notify)(void *context);
};

struct slirp_library {
  struct slirp *(*new)(const struct slirp_configuration *, const struct slirp_callbacks *, void *);
  void (*fill)(struct slirp *, uint32_t *, int (*)(int fd, int events, void *), void *);
  void (*poll)(struct slirp *, int, int (*)(int index, void *), void *);
  void (*input)(struct slirp *, const uint8_t *, int);
};

#endif
