// The template mount namespace: an empty tmpfs with a prepared /dev and nothing of the host in it. A pod's namespace
// is a copy of this one, so a start mounts a handful of things and there is nothing to find behind them.
#include "csandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* move_mount(2), named in a header that excludes <sys/mount.h>. */
#define MOVE_EMPTY_PATH 4u
#define WHOLE_HOST 4294967295u

struct device {
  const char *path;
  unsigned major, minor;
};

static const struct device devices[] = {
  {TEMPLATE_DEV "/null", 1, 3},   {TEMPLATE_DEV "/zero", 1, 5},    {TEMPLATE_DEV "/full", 1, 7},
  {TEMPLATE_DEV "/random", 1, 8}, {TEMPLATE_DEV "/urandom", 1, 9},
};

#define DEVICES (sizeof devices / sizeof devices[0])

/* Whether root here is only root of a user namespace: then some user of the host is not part of it. */
static int is_mapped(void) {
  unsigned inside = 0, outside = 0, count = WHOLE_HOST;
  FILE *map = fopen("/proc/self/uid_map", "re");
  if (map == NULL) return 0;
  int read = fscanf(map, "%u %u %u", &inside, &outside, &count);
  fclose(map);
  return read == 3 && count != WHOLE_HOST;
}

/* In a user namespace nobody makes devices: the host's own are opened while they are in sight. Elsewhere -1 for each. */
static int open_devices(int mapped, int *trees) {
  for (size_t i = 0; i < DEVICES; i++) {
    trees[i] = -1;
    if (!mapped) continue;
    trees[i] = (int)syscall(SYS_open_tree, AT_FDCWD, devices[i].path, TREE_CLONE | O_CLOEXEC);
    if (trees[i] < 0) return -1;
  }
  return 0;
}

/* One device; `tree` is the host's, or -1 where we make our own. */
static int put_device(const struct device *device, int tree) {
  if (tree < 0) return mknod(device->path, S_IFCHR | 0666, makedev(device->major, device->minor));
  int file = open(device->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
  if (file < 0) return -1;
  close(file);
  if (syscall(SYS_move_mount, tree, "", AT_FDCWD, device->path, MOVE_EMPTY_PATH) != 0) return -1;
  return close(tree);
}

/* No tty, no block device, nothing that can be opened to reach the host. */
static int make_dev(const int *trees) {
  if (mkdir(TEMPLATE_DEV, 0755) != 0) return -1;
  // The one mount of a pod without nodev: it holds the five devices below and is made read-only.
  if (mount("apus-dev", TEMPLATE_DEV, "tmpfs", MS_NOSUID | MS_NOEXEC, "size=64k,nr_inodes=32,mode=0755") != 0)
    return -1;
  for (size_t i = 0; i < DEVICES; i++) {
    if (put_device(&devices[i], trees[i]) != 0) return -1;
  }
  if (symlink("/proc/self/fd", TEMPLATE_DEV "/fd") != 0 ||
      symlink("/proc/self/fd/0", TEMPLATE_DEV "/stdin") != 0 ||
      symlink("/proc/self/fd/1", TEMPLATE_DEV "/stdout") != 0 ||
      symlink("/proc/self/fd/2", TEMPLATE_DEV "/stderr") != 0)
    return -1;
  // POSIX shared memory lives in /tmp and so counts against its limits.
  if (symlink("/tmp", TEMPLATE_DEV "/shm") != 0) return -1;
  return mount(NULL, TEMPLATE_DEV, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC | MS_NOATIME, NULL);
}

/* In a user namespace the kernel mounts a /proc only where one is in sight, so the template keeps one: of the spawner's
   process namespace. A pod lets go of it as soon as it has its own (see pod.c). */
static int keep_proc(void) {
  if (mkdir(&TEMPLATE_PROC[1], 0555) != 0) return -1;
  return mount("apus-proc", &TEMPLATE_PROC[1], "proc", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

int template_enter(void) {
  int trees[DEVICES];
  const int mapped = is_mapped();
  umask(0);
  // A mount namespace of our own, then nothing travels to or from the host's.
  if (unshare(CLONE_NEWNS) != 0) return -1;
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return -1;
  // /proc is the one directory every Linux host has; it is only the place where the new root is put for a moment.
  if (mount("apus-template", "/proc", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=64m,mode=0755") != 0) return -1;
  if (open_devices(mapped, trees) != 0) return -1;
  if (chdir("/proc") != 0) return -1;
  if (mapped && keep_proc() != 0) return -1;
  // Root and old root in one place; the old one is on top and goes, with every file of the host.
  if (syscall(SYS_pivot_root, ".", ".") != 0) return -1;
  if (umount2(".", MNT_DETACH) != 0 || chdir("/") != 0) return -1;
  if (mkdir(TEMPLATE_ROOT, 0755) != 0 || mkdir(TEMPLATE_PASSWD, 0755) != 0) return -1;
  return make_dev(trees);
}

/* /etc/passwd of a slot, so that the pod's user has a name; made once, the slot's user never changes. */
int template_passwd(uint32_t slot, uint32_t uid) {
  char path[64], text[160];
  snprintf(path, sizeof path, TEMPLATE_PASSWD "/%u-%u", slot, uid);
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
  if (fd < 0) return errno == EEXIST ? 0 : -1;
  int length = snprintf(text, sizeof text,
                        "root:x:0:0:root:/:/sbin/nologin\nfunction:x:%u:%u:function:/tmp:/bin/sh\n", uid, uid);
  ssize_t written = write(fd, text, (size_t)length);
  int error = errno;
  close(fd);
  if (written == length) return 0;
  // Half a file would be there for every later pod.
  unlink(path);
  errno = written < 0 ? error : ENOSPC;
  return -1;
}
