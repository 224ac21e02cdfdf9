// The few Linux system calls Swift cannot reach: openat2, descriptors over unix sockets, pidfds, namespaces.
// Every function returns -1 and sets errno on failure unless it says otherwise. Every descriptor is close-on-exec.
#ifndef APUS_CLINUX_H
#define APUS_CLINUX_H

#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "apus_egress.h"
#include "apus_protocol.h"

/// Opens `path` below the directory `directory_fd`, never leaving it: no `..` above it, no symbolic links, no magic
/// links (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS). `flags` and `mode` are those of open(2);
/// O_CLOEXEC is always added.
int apus_openat2(int directory_fd, const char *path, int flags, mode_t mode);

/// Opens `path` as if the directory `directory_fd` were the root: links are followed and lead nowhere else
/// (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS). O_CLOEXEC is always added; nothing is created.
int apus_open_in_root(int directory_fd, const char *path, int flags);

/// A connected pair of SOCK_SEQPACKET unix sockets.
int apus_packet_pair(int pair[2]);

/// A pipe: reading end, writing end.
int apus_pipe(int ends[2]);

/// A counter descriptor (eventfd) that wakes a thread which polls it.
int apus_wake_create(void);
/// Wakes whoever polls `fd`.
int apus_wake(int fd);
/// Takes all wake-ups of `fd`.
int apus_wake_clear(int fd);

/// Sends one packet with up to APUS_DESCRIPTORS_MAX descriptors, without waiting (EAGAIN) and without SIGPIPE.
ssize_t apus_send(int socket, const void *bytes, size_t length, const int *descriptors, size_t count);
/// Receives one packet and at most one descriptor (-1 when none came); 0 at the end of the connection.
ssize_t apus_receive(int socket, void *bytes, size_t capacity, int *descriptor);

/// Starts `path` as process 1 of a new process namespace with `socket` as its descriptor 3 and nothing else but
/// /dev/null and this process's stderr. Shares memory with the child until it executed (vfork), so it costs the same
/// from a large process; only raw system calls run in between. `pidfd` receives a descriptor of the new process, which
/// is returned. The calling thread must outlive the child: the child asks to die with it.
pid_t apus_launch_spawner(const char *path, int socket, int *pidfd);

/// Starts `path` with `arguments` (NULL at the end), this process's environment and its standard descriptors, but no
/// other one, no blocked signal and SIGUSR2 as usual.
pid_t apus_start(const char *path, char *const *arguments);

/// A descriptor that stands for process `pid`.
int apus_pidfd_open(pid_t pid);
/// Sends `signal` to the process behind `pidfd`.
int apus_pidfd_signal(int pidfd, int signal);
/// Waits until the child behind `pidfd` has ended and reaps it; gives its exit code, or 128 + signal.
int apus_pidfd_wait(int pidfd);
/// Waits at most `milliseconds` until `fd` is readable (a pidfd: the process ended); 1 if so, 0 if not.
int apus_wait_readable(int fd, int milliseconds);

/// A descriptor that tells of many others at once (epoll).
int apus_poll_create(void);
/// Lets `poll` tell of `fd` by `token` as long as there is something to read in it, or its end.
int apus_poll_add(int poll, int fd, uint64_t token);
/// Ends what `apus_poll_add` began; before `fd` is closed.
int apus_poll_remove(int poll, int fd);
/// Waits at most `milliseconds` (-1: without end) and gives the tokens of up to `capacity` (at most 64) descriptors;
/// answers how many, 0 when there was none or a signal came.
int apus_poll_wait(int poll, uint64_t *tokens, int capacity, int milliseconds);

/// A private, detached copy of the mount of directory `path`, ready to be hung into another mount namespace.
int apus_open_tree(const char *path);

/// Layers an overlay takes at most, ours among them.
#define APUS_IMAGE_LAYERS_MAX 130
/// Users of an image that have a user of the host: 0 …< 65536.
#define APUS_IMAGE_USERS 65536u

/// What the root of an image's pod is made of.
struct apus_image_root {
  /// Folders of its layers, the topmost first; 2 … APUS_IMAGE_LAYERS_MAX.
  const char *const *layers;
  size_t count;
  /// The host user (and group) that the image's user 0 is; n is this plus n.
  uint32_t first_user;
  /// Bytes and files that writes may take, in memory; 0 bytes make the root read-only.
  uint64_t upper_bytes, upper_inodes;
};

/// Where making a root failed.
enum apus_image_step {
  APUS_IMAGE_USERS_STEP = 0,
  APUS_IMAGE_LAYER_STEP = 1,
  APUS_IMAGE_OVERLAY_STEP = 2,
  APUS_IMAGE_UPPER_STEP = 3,
  APUS_IMAGE_MOUNT_STEP = 4,
};

/// The root of an image's pod as a detached mount, ready to be hung into another mount namespace; -1 with errno and
/// `step` set. Needs Linux 6.15 (layers without a place in the file tree) and CAP_SYS_ADMIN. Some 0.3 ms.
int apus_image_root(const struct apus_image_root *root, enum apus_image_step *step);

/// Waits until everything written to the file system of `fd` is on the disk.
int apus_sync_filesystem(int fd);

/// Makes the whiteout `name` in `directory_fd`: what an overlay takes as "not here, whatever lies below".
int apus_whiteout(int directory_fd, const char *name);
/// Hides everything that lies below the directory `directory_fd` in an overlay.
int apus_make_opaque(int directory_fd);

/// A sealed memory file with these bytes.
int apus_memory_file(const void *bytes, size_t length);

/// A descriptor of this network namespace to come back to; -1 with errno 0 where nobody may (root of a user namespace, of
/// which the host's network is not), -1 with another errno on failure.
int apus_netns_home(void);
/// A non-blocking TCP socket on its way to 127.0.0.1:`port` in the network namespace of the process behind `pidfd`;
/// writable when decided. Moves the CALLING THREAD into that namespace and back to the one behind `home`: on a dedicated
/// thread only. With `home` -1 a child of a moment goes in its place.
int apus_netns_connect(int pidfd, uint16_t port, int home);
/// A non-blocking TCP socket of that namespace, not connected; as `apus_netns_connect` otherwise.
int apus_netns_socket(int pidfd, int home);
/// Asks with such a socket whether something listens on 127.0.0.1:`port`: 1 when it is connected now, else 0, and it can be
/// asked again.
int apus_loopback_ask(int fd, uint16_t port);
/// poll(2) with a timeout in nanoseconds; below 0 there is none.
int apus_poll(struct pollfd *watched, unsigned count, int64_t nanoseconds);
/// How much later than asked the kernel may end a timed wait of the calling thread (prctl(2), PR_SET_TIMERSLACK; 50 us
/// unless told).
int apus_timer_slack(unsigned long nanoseconds);
/// A TCP socket that listens on 127.0.0.1:`port` in that namespace; as `apus_netns_connect` otherwise.
int apus_netns_listen(int pidfd, uint16_t port, int home);
/// Makes the Ethernet interface of a pod with `egress: internet` in that namespace (eth0 with the addresses of
/// apus_egress.h and the default route) and gives the descriptor on which its frames are read and written; the interface
/// is gone with it. As `apus_netns_connect` otherwise. Needs /dev/net/tun.
int apus_netns_tap(int pidfd, int home);
/// The pending error of a socket (0: none), taken from it.
int apus_socket_error(int socket);

/// Copies `length` bytes between two files at their current positions, in the kernel where it can.
int apus_copy_file(int from, int to, uint64_t length);

/// Detaches the mount at `path` (umount2 with MNT_DETACH).
int apus_unmount(const char *path);

/// 1 if the running kernel has seccomp filters, else 0.
int apus_has_seccomp_filter(void);
/// 1 if this process may use capability `number` (see capabilities(7)), else 0.
int apus_has_capability(int number);

/// `apus_decode_spawn` for callers that cannot hold a struct of that size on the stack: checks a message and what the
/// decoder promises about it; 0 accepted, negative refused (enum apus_refusal), 1 the decoder broke a promise.
int apus_check_spawn_message(const uint8_t *message, size_t length, size_t descriptors);
/// The same for BIND, to a pod where a warm command waits or not.
int apus_check_bind_message(const uint8_t *message, size_t length, size_t descriptors, int warm);
/// The same for ZYGOTE.
int apus_check_zygote_message(const uint8_t *message, size_t length, size_t descriptors);

/// How many processors this process may run on (its affinity mask), at least 1.
int apus_processors(void);

/// Gives memory that was freed back to the system (malloc_trim(3)); for once after a large piece of work.
void apus_trim_heap(void);

#endif
