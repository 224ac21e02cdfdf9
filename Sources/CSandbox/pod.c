// From clone to the pod's process 1: join the cgroups, build the private root, wait for what the pod is to be, and give
// up every privilege. The order matters; each step says what it needs that a later one takes away.
#include "csandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

/* glibc's <sys/mount.h> and <linux/mount.h> exclude each other on Debian 12; these are all we need from the former. */
extern int mount(const char *, const char *, const char *, unsigned long, const void *);
extern int umount2(const char *, int);
#define MNT_DETACH 2

#define SECRETS_DIRECTORY "/var/openfaas/secrets"

void pod_fail(int status, enum apus_step step) {
  struct pod_report message = {.kind = REPORT_FAILED, .step = step, .code = errno, .at = now_ns()};
  ssize_t ignored = write(status, &message, sizeof message);
  (void)ignored;
  _exit(127);
}

/* Closes all but the descriptors this pod was given: the copies of the spawner's socket and of other pods' pipes. */
static void keep_only(const struct pod_descriptors *given) {
  int keep[APUS_DESCRIPTORS_MAX + 2];
  size_t count = 0;
  const int named[] = {given->bind,   given->root,    given->out,    given->err,   given->listener,
                       given->frames, given->control, given->status, given->passwd};
  for (size_t i = 0; i < sizeof named / sizeof named[0]; i++) {
    if (named[i] >= 0) keep[count++] = named[i];
  }
  for (size_t i = 0; i < APUS_CGROUPS_MAX; i++) {
    if (given->cgroups[i] >= 0) keep[count++] = given->cgroups[i];
  }
  for (size_t i = 1; i < count; i++) {
    for (size_t j = i; j > 0 && keep[j] < keep[j - 1]; j--) {
      int swap = keep[j];
      keep[j] = keep[j - 1];
      keep[j - 1] = swap;
    }
  }
  unsigned from = 0;
  for (size_t i = 0; i < count; i++) {
    if ((unsigned)keep[i] > from) syscall(SYS_close_range, from, (unsigned)keep[i] - 1, 0);
    from = (unsigned)keep[i] + 1;
  }
  syscall(SYS_close_range, from, ~0u, 0);
}

/* cgroup v1: "0" to `tasks` moves this thread, which is the whole process; `cgroup.procs` would take milliseconds. */
static void join_cgroups(const struct apus_spawn *spawn, struct pod_descriptors *given, int status) {
  if (spawn->head.flags & APUS_CGROUP_V2) {
    close(given->cgroups[0]);
    given->cgroups[0] = -1;
  } else {
    for (size_t i = 0; i < spawn->head.cgroups; i++) {
      if (write(given->cgroups[i], "0", 1) != 1) pod_fail(status, APUS_STEP_CGROUP);
      close(given->cgroups[i]);
      given->cgroups[i] = -1;
    }
  }
  // A cgroup namespace rooted where we are now: /proc/self/cgroup shows "/" instead of the host's layout.
  if (unshare(CLONE_NEWCGROUP) != 0) pod_fail(status, APUS_STEP_CGROUP);
}

/* A detached mount becomes read-only (unless writes to it are the pod's own affair), without set-id programs and
   devices, and is hung in at `path`. A copy of a mount belongs to the peers of what it was copied from, as everything does
   where systemd is: nothing is to travel between them, and no shared mount can become a root. */
static int attach(int tree, const char *path, int writable) {
  struct mount_attr attributes = {
    .attr_set = (writable ? 0 : MOUNT_ATTR_RDONLY) | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
    .propagation = MS_PRIVATE};
  const unsigned flags = AT_EMPTY_PATH | AT_RECURSIVE;
  if (syscall(SYS_mount_setattr, tree, "", flags, &attributes, sizeof attributes) != 0) return -1;
  // A detached mount and not a directory descriptor: `..` of a mount's root is the mount's root.
  if (syscall(SYS_move_mount, tree, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) != 0) return -1;
  return close(tree);
}

static void mount_tmp(const struct apus_spawn *spawn, int status) {
  char options[160];
  snprintf(options, sizeof options, "size=%llu,nr_inodes=%llu,mode=0700,uid=%u,gid=%u",
           (unsigned long long)spawn->head.tmp_bytes, (unsigned long long)spawn->head.tmp_inodes, spawn->head.uid,
           spawn->head.gid);
  if (mount("apus-tmp", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, options) != 0) pod_fail(status, APUS_STEP_TMP);
}

/* The size the function asks for, where it is another than the one /tmp was made with. */
static void resize_tmp(const struct apus_spawn *spawn, const struct apus_bind *bind, int status) {
  if (bind->head.tmp_bytes == spawn->head.tmp_bytes && bind->head.tmp_inodes == spawn->head.tmp_inodes) return;
  char options[96];
  snprintf(options, sizeof options, "size=%llu,nr_inodes=%llu", (unsigned long long)bind->head.tmp_bytes,
           (unsigned long long)bind->head.tmp_inodes);
  if (mount(NULL, "/tmp", NULL, MS_REMOUNT | MS_NOSUID | MS_NODEV, options) != 0) pod_fail(status, APUS_STEP_TMP);
}

/* Mounts /proc. In a user namespace the kernel wants to see one before it gives another: there the root's maker left one,
   which goes as soon as this one stands. */
static int replace_proc(unsigned long flags) {
  struct statfs kept;
  if (statfs("/proc", &kept) != 0 || kept.f_type != PROC_SUPER_MAGIC)
    return mount("apus-proc", "/proc", "proc", flags, "hidepid=2");
  if (mount("apus-proc", "/tmp", "proc", flags, "hidepid=2") != 0 || umount2("/proc", MNT_DETACH) != 0) return -1;
  return mount("/tmp", "/proc", NULL, MS_MOVE, NULL);
}

/* /proc of the pod's own process namespace: read-only as a whole (so /proc/sys and sysrq are), other users' processes
   invisible, and the files that show the host's memory, keys and addresses covered by /dev/null. */
static void mount_proc(int status) {
  static const char *const covered[] = {
    "/proc/kcore",    "/proc/keys",          "/proc/key-users",  "/proc/kmsg",
    "/proc/kallsyms", "/proc/sysrq-trigger", "/proc/timer_list",
  };
  const unsigned long flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (replace_proc(flags) != 0) pod_fail(status, APUS_STEP_PROC);
  for (size_t i = 0; i < sizeof covered / sizeof covered[0]; i++) {
    if (mount("/dev/null", covered[i], NULL, MS_BIND, NULL) != 0 && errno != ENOENT) pod_fail(status, APUS_STEP_PROC);
  }
}

static void copy_secret(int from, int to, uint32_t length, int status) {
  char buffer[16384];
  while (length > 0) {
    ssize_t count = read(from, buffer, length < sizeof buffer ? length : sizeof buffer);
    if (count == 0) errno = ENODATA;
    if (count <= 0 || write(to, buffer, (size_t)count) != count) pod_fail(status, APUS_STEP_SECRETS);
    length -= (uint32_t)count;
  }
  explicit_bzero(buffer, sizeof buffer);
}

/* Secrets: a tmpfs of the pod's own, files readable by the pod's user alone, closed to writing before anyone runs. */
static void mount_secrets(const struct apus_spawn *spawn, const struct apus_bind *bind, int secrets, int status) {
  if (bind->head.secrets == 0) return;
  const char *place = SECRETS_DIRECTORY;
  const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  // `noswap` (Linux 6.4) keeps secrets off the disk; older kernels refuse the word.
  if (mount("apus-secrets", place, "tmpfs", flags, "size=5m,nr_inodes=256,mode=0755,noswap") != 0 &&
      mount("apus-secrets", place, "tmpfs", flags, "size=5m,nr_inodes=256,mode=0755") != 0)
    pod_fail(status, APUS_STEP_SECRETS);
  lseek(secrets, 0, SEEK_SET);
  for (size_t i = 0; i < bind->head.secrets; i++) {
    char path[sizeof SECRETS_DIRECTORY + 1 + APUS_SECRET_PATH_MAX + 1];
    snprintf(path, sizeof path, "%s/%s", place, bind->secrets[i].path);
    char *slash = strrchr(path, '/');
    if (strchr(bind->secrets[i].path, '/') != NULL) {
      *slash = 0;
      if (mkdir(path, 0755) != 0 && errno != EEXIST) pod_fail(status, APUS_STEP_SECRETS);
      *slash = '/';
    }
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0400);
    if (file < 0) pod_fail(status, APUS_STEP_SECRETS);
    copy_secret(secrets, file, bind->secrets[i].length, status);
    if (fchown(file, spawn->head.uid, spawn->head.gid) != 0 || fchmod(file, 0400) != 0)
      pod_fail(status, APUS_STEP_SECRETS);
    close(file);
  }
  struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY};
  if (syscall(SYS_mount_setattr, AT_FDCWD, place, 0, &attributes, sizeof attributes) != 0)
    pod_fail(status, APUS_STEP_SECRETS);
}

/* The user's name; a root without /etc/passwd simply has none. */
static void mount_passwd(int tree, int status) {
  if (tree < 0) return;
  struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC};
  if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes) != 0)
    pod_fail(status, APUS_STEP_ROOT);
  if (syscall(SYS_move_mount, tree, "", AT_FDCWD, "/etc/passwd", MOVE_MOUNT_F_EMPTY_PATH) != 0 && errno != ENOENT)
    pod_fail(status, APUS_STEP_ROOT);
}

int root_enter(int tree, int writable, enum apus_step *step) {
  *step = APUS_STEP_ROOT;
  if (attach(tree, TEMPLATE_ROOT, writable) != 0) return -1;
  *step = APUS_STEP_DEV;
  if (mount(TEMPLATE_DEV, TEMPLATE_ROOT "/dev", NULL, MS_BIND | MS_REC, NULL) != 0) return -1;
  if (access(TEMPLATE_PROC, F_OK) == 0) {
    *step = APUS_STEP_PROC;
    if (mount(TEMPLATE_PROC, TEMPLATE_ROOT "/proc", NULL, MS_BIND, NULL) != 0) return -1;
  }
  *step = APUS_STEP_PIVOT;
  // The new root takes the place of the template; the template, stacked on top for a moment, is let go.
  if (chdir(TEMPLATE_ROOT) != 0 || syscall(SYS_pivot_root, ".", ".") != 0 || umount2(".", MNT_DETACH) != 0) return -1;
  return chdir("/");
}

/* A zygote's pods are copies of its namespace, which has the root already. */
static void build_root(const struct apus_spawn *spawn, const struct pod_descriptors *given, int status) {
  enum apus_step step;
  const int writable = (spawn->head.flags & APUS_ROOT_WRITABLE) != 0;
  if (given->root >= 0 && root_enter(given->root, writable, &step) != 0) pod_fail(status, step);
  mount_passwd(given->passwd, status);
  mount_proc(status);
  mount_tmp(spawn, status);
}

void bind_mounts(const struct apus_spawn *spawn, const struct apus_bind *bind, int code, int secrets, int status) {
  if (code >= 0 && attach(code, "/function", 0) != 0) pod_fail(status, APUS_STEP_CODE);
  resize_tmp(spawn, bind, status);
  mount_secrets(spawn, bind, secrets, status);
}

/* 127.0.0.1 answers inside the pod; there is no other interface but what its worker adds, and no way to add one. */
static void raise_loopback(int status) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  struct ifreq request;
  memset(&request, 0, sizeof request);
  strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) != 0) pod_fail(status, APUS_STEP_LOOPBACK);
  close(fd);
}

/* What holds for every command, whatever its function asks for. */
static void set_common_limits(int status) {
  const struct rlimit none = {0, 0};
  if (setrlimit(RLIMIT_CORE, &none) != 0 || setrlimit(RLIMIT_MSGQUEUE, &none) != 0)
    pod_fail(status, APUS_STEP_LIMITS);
}

void set_limits(const struct apus_bind *bind, pid_t pid, int status) {
  struct rlimit files;
  if (prlimit(pid, RLIMIT_NOFILE, NULL, &files) != 0) pod_fail(status, APUS_STEP_LIMITS);
  // Never above what we have: raising a hard limit needs CAP_SYS_RESOURCE, which a host may not give.
  if (bind->head.open_files < files.rlim_max) files.rlim_max = bind->head.open_files;
  files.rlim_cur = files.rlim_max;
  if (prlimit(pid, RLIMIT_NOFILE, &files, NULL) != 0) pod_fail(status, APUS_STEP_LIMITS);
  const struct rlimit processes = {bind->head.processes, bind->head.processes};
  if (bind->head.processes != 0 && prlimit(pid, RLIMIT_NPROC, &processes, NULL) != 0)
    pod_fail(status, APUS_STEP_LIMITS);
}

void drop_privileges(uint32_t user, uint32_t group, int status) {
  // The bounding set first, while CAP_SETPCAP is still there: no program executed later can gain any of these.
  for (int capability = 0; capability <= 63; capability++) {
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) {
      if (errno == EINVAL) break; /* past the last one this kernel knows */
      pod_fail(status, APUS_STEP_CAPABILITIES);
    }
  }
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) pod_fail(status, APUS_STEP_CAPABILITIES);
  // Groups before the user: afterwards we may not. Raw calls, as there is one thread and no libc bookkeeping to keep.
  if (syscall(SYS_setgroups, 0, NULL) != 0) pod_fail(status, APUS_STEP_IDENTITY);
  if (syscall(SYS_setresgid, group, group, group) != 0) pod_fail(status, APUS_STEP_IDENTITY);
  if (syscall(SYS_setresuid, user, user, user) != 0) pod_fail(status, APUS_STEP_IDENTITY);
  // Leaving uid 0 cleared the effective set; this clears the rest, and proves it.
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  struct __user_cap_data_struct empty[2];
  memset(empty, 0, sizeof empty);
  if (syscall(SYS_capset, &header, empty) != 0) pod_fail(status, APUS_STEP_CAPABILITIES);
  // No set-id program and no file capability gives anything back.
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) pod_fail(status, APUS_STEP_CAPABILITIES);
  // Process 1 shares the command's user; not dumpable, it cannot be traced or read through /proc by it. A command that is
  // executed is dumpable again.
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) pod_fail(status, APUS_STEP_CAPABILITIES);
}

pid_t pod_clone(const struct apus_spawn *spawn, const struct pod_descriptors *given, uint64_t flags, int *pidfd) {
  struct clone_args how;
  memset(&how, 0, sizeof how);
  how.flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_PIDFD | flags;
  if (!(spawn->head.flags & APUS_HOST_NETWORK)) how.flags |= CLONE_NEWNET;
  // A sibling's signal is its maker's, and the kernel wants none named.
  how.exit_signal = (flags & CLONE_PARENT) ? 0 : SIGCHLD;
  how.pidfd = (uint64_t)(uintptr_t)pidfd;
  if (spawn->head.flags & APUS_CGROUP_V2) {
    how.flags |= CLONE_INTO_CGROUP;
    how.cgroup = (uint64_t)given->cgroups[0];
  }
  return (pid_t)syscall(SYS_clone3, &how, sizeof how);
}

void pod_main(const struct apus_spawn *spawn, struct pod_descriptors *given, void (*shed)(void)) {
  keep_only(given);
  join_cgroups(spawn, given, given->status);
  umask(022);
  build_root(spawn, given, given->status);
  if (!(spawn->head.flags & APUS_HOST_NETWORK)) raise_loopback(given->status);
  set_common_limits(given->status);
  init_main(spawn, given, shed);
}
