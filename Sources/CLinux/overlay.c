// The root of a pod made from a container image: an overlay of the image's layers, as one detached mount. Nothing of it
// is ever mounted where the host could see it, and it is gone with the last descriptor or namespace that holds it.
#include "clinux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define IDLE_STACK 16384

/* Only there to give a user namespace to those who ask for it; every signal but SIGKILL is blocked, so that pause, and
   with it errno, which is our parent's too, is never touched. */
static int idle(void *unused) {
  (void)unused;
  // A raw call: errno is not ours. Its parent lives, or it would not hold the descriptors that `user_namespace` waits for.
  syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  for (;;) syscall(SYS_pause);
  return 0;
}

static int write_map(pid_t pid, const char *name, uint32_t first) {
  char path[64], line[64];
  snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
  int length = snprintf(line, sizeof line, "0 %u %u\n", first, APUS_IMAGE_USERS);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t written = write(fd, line, (size_t)length);
  int error = errno;
  close(fd);
  errno = error;
  return written == length ? 0 : -1;
}

/* A user namespace in which user n is user first + n of the host; nobody ever runs in it. */
static int user_namespace(uint32_t first) {
  void *stack = mmap(NULL, IDLE_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) return -1;
  sigset_t all, before;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &before);
  int pidfd = -1, fd = -1;
  // Shares our memory: copying the page tables of a large worker would take longer than all the rest.
  pid_t pid = clone(idle, (char *)stack + IDLE_STACK, CLONE_VM | CLONE_NEWUSER | CLONE_PIDFD | SIGCHLD, NULL, &pidfd);
  int error = errno;
  sigprocmask(SIG_SETMASK, &before, NULL);
  if (pid > 0) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/user", (int)pid);
    if (write_map(pid, "uid_map", first) == 0 && write_map(pid, "gid_map", first) == 0)
      fd = open(path, O_RDONLY | O_CLOEXEC);
    error = errno;
    apus_pidfd_signal(pidfd, SIGKILL);
    apus_pidfd_wait(pidfd);
    close(pidfd);
  }
  munmap(stack, IDLE_STACK);
  errno = error;
  return fd;
}

static int set_text(int fs, const char *key, const char *value) {
  return (int)syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, key, value, 0);
}

static int set_descriptor(int fs, const char *key, int descriptor) {
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
  return set_text(fs, key, path);
}

static int mounted(int fs, unsigned attributes) {
  if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) != 0) return -1;
  return (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes);
}

/* A layer whose files of user n belong to user first + n of the host, wherever it is seen through this mount. */
static int mapped_layer(const char *path, int users) {
  int tree = (int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  if (tree < 0) return -1;
  struct mount_attr attributes = {
    .attr_set = MOUNT_ATTR_IDMAP | MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
    .userns_fd = (uint64_t)users};
  if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes) == 0) return tree;
  int error = errno;
  close(tree);
  errno = error;
  return -1;
}

/* The memory that takes a pod's writes: bounded, and charged to the pod that writes. */
static int upper_layer(int overlay, const struct apus_image_root *root, int held[2], int *tmpfs) {
  char size[32], inodes[32];
  snprintf(size, sizeof size, "%llu", (unsigned long long)root->upper_bytes);
  snprintf(inodes, sizeof inodes, "%llu", (unsigned long long)root->upper_inodes);
  int fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
  if (fs < 0) return -1;
  if (set_text(fs, "size", size) == 0 && set_text(fs, "nr_inodes", inodes) == 0 && set_text(fs, "mode", "0700") == 0)
    *tmpfs = mounted(fs, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
  int error = errno;
  close(fs);
  errno = error;
  if (*tmpfs < 0) return -1;
  static const char *const names[] = {"upper", "work"};
  for (int i = 0; i < 2; i++) {
    if (mkdirat(*tmpfs, names[i], 0755) != 0) return -1;
    held[i] = openat(*tmpfs, names[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (held[i] < 0 || fchmod(held[i], 0755) != 0) return -1;
  }
  if (fchown(held[0], root->first_user, root->first_user) != 0) return -1;
  return set_descriptor(overlay, "upperdir", held[0]) == 0 ? set_descriptor(overlay, "workdir", held[1]) : -1;
}

int apus_image_root(const struct apus_image_root *root, enum apus_image_step *step) {
  int layers[APUS_IMAGE_LAYERS_MAX], held[2] = {-1, -1}, tmpfs = -1, overlay = -1, result = -1;
  size_t opened = 0;
  *step = APUS_IMAGE_USERS_STEP;
  if (root->count < 2 || root->count > APUS_IMAGE_LAYERS_MAX) {
    errno = E2BIG;
    return -1;
  }
  int users = user_namespace(root->first_user);
  if (users < 0) return -1;
  *step = APUS_IMAGE_OVERLAY_STEP;
  overlay = (int)syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC);
  if (overlay < 0) goto out;
  for (; opened < root->count; opened++) {
    *step = APUS_IMAGE_LAYER_STEP;
    layers[opened] = mapped_layer(root->layers[opened], users);
    if (layers[opened] < 0) goto out;
    *step = APUS_IMAGE_OVERLAY_STEP;
    if (set_descriptor(overlay, "lowerdir+", layers[opened]) != 0) {
      opened++;
      goto out;
    }
  }
  *step = APUS_IMAGE_UPPER_STEP;
  if (root->upper_bytes > 0 && upper_layer(overlay, root, held, &tmpfs) != 0) goto out;
  *step = APUS_IMAGE_MOUNT_STEP;
  result = mounted(overlay, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (root->upper_bytes > 0 ? 0 : MOUNT_ATTR_RDONLY));
out:;
  int error = errno;
  // The overlay holds private copies of all of these by now, or nobody needs them.
  for (size_t i = 0; i < opened; i++) close(layers[i]);
  const int rest[] = {held[0], held[1], tmpfs, overlay, users};
  for (size_t i = 0; i < sizeof rest / sizeof rest[0]; i++) {
    if (rest[i] >= 0) close(rest[i]);
  }
  errno = error;
  return result;
}

int apus_whiteout(int directory_fd, const char *name) {
  return mknodat(directory_fd, name, S_IFCHR, makedev(0, 0));
}

int apus_make_opaque(int directory_fd) { return fsetxattr(directory_fd, "trusted.overlay.opaque", "y", 1, 0); }

int apus_sync_filesystem(int fd) { return syncfs(fd); }
