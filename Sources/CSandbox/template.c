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

struct device {
  const char *path;
  unsigned major, minor;
};

static const struct device devices[] = {
  {TEMPLATE_DEV "/null", 1, 3},   {TEMPLATE_DEV "/zero", 1, 5},    {TEMPLATE_DEV "/full", 1, 7},
  {TEMPLATE_DEV "/random", 1, 8}, {TEMPLATE_DEV "/urandom", 1, 9},
};

/* No tty, no block device, nothing that can be opened to reach the host. */
static int make_dev(void) {
  if (mkdir(TEMPLATE_DEV, 0755) != 0) return -1;
  // The one mount of a pod without nodev: it holds the five devices below and is made read-only.
  if (mount("apus-dev", TEMPLATE_DEV, "tmpfs", MS_NOSUID | MS_NOEXEC, "size=64k,nr_inodes=32,mode=0755") != 0)
    return -1;
  for (size_t i = 0; i < sizeof devices / sizeof devices[0]; i++) {
    if (mknod(devices[i].path, S_IFCHR | 0666, makedev(devices[i].major, devices[i].minor)) != 0) return -1;
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

int template_enter(void) {
  umask(0);
  // A mount namespace of our own, then nothing travels to or from the host's.
  if (unshare(CLONE_NEWNS) != 0) return -1;
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return -1;
  // /proc is the one directory every Linux host has; it is only the place where the new root is put for a moment.
  if (mount("apus-template", "/proc", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=64m,mode=0755") != 0) return -1;
  if (chdir("/proc") != 0) return -1;
  // Root and old root in one place; the old one is on top and goes, with every file of the host.
  if (syscall(SYS_pivot_root, ".", ".") != 0) return -1;
  if (umount2(".", MNT_DETACH) != 0 || chdir("/") != 0) return -1;
  if (mkdir(TEMPLATE_ROOT, 0755) != 0 || mkdir(TEMPLATE_PASSWD, 0755) != 0) return -1;
  return make_dev();
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
  close(fd);
  return written == length ? 0 : -1;
}
