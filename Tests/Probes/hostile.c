// What a hostile function would try, each attempt in a process of its own. Prints one line each: NAME open|blocked WHY.
// Arguments: HOST_PID HOST_PORT HOST_FILE HOST_SOCKET, all of the host; POD_PID POD_PORT POD_NAME, another pod that lives;
// none of them reachable from a pod. What follows are the probes to make, all if none is named.
// As `target NAME` it is that other pod: it offers a port, an abstract socket, shared memory and a file of that name to
// everybody, prints its port, and waits for SIGTERM.
// Built by the tests with: cc -static hostile.c
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static pid_t host_pid, pod_pid;
static int host_port, pod_port;
static const char *host_file, *host_socket, *pod_name;

/* A probe answers 1 if the attempt worked, else 0 with errno set. */
typedef int probe(void);

static int ok(long result) { return result >= 0; }
static int opened(const char *path, int flags) { return ok(open(path, flags, 0600)); }
static int read_some(const char *path) {
  char byte;
  int fd = open(path, O_RDONLY);
  if (fd < 0) return 0;
  errno = ENODATA;
  return read(fd, &byte, 1) == 1;
}
static int written(const char *path, const char *text) {
  int fd = open(path, O_WRONLY);
  return fd >= 0 && write(fd, text, strlen(text)) > 0;
}

static int mount_tmpfs(void) { return ok(mount("none", "/tmp", "tmpfs", 0, NULL)); }
static int mount_bind(void) { return ok(mount("/tmp", "/function", NULL, MS_BIND, NULL)); }
static int mount_remount(void) { return ok(mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL)); }
static int mount_proc(void) { return ok(mount("proc", "/tmp", "proc", 0, NULL)); }
static int umount_proc(void) { return ok(umount2("/proc", MNT_DETACH)); }
static int open_tree_clone(void) { return ok(syscall(SYS_open_tree, AT_FDCWD, "/", 1)); }
static int fsopen_tmpfs(void) { return ok(syscall(SYS_fsopen, "tmpfs", 0)); }
static int mount_setattr_rw(void) {
  uint64_t attributes[4] = {0, 1, 0, 0};
  return ok(syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, attributes, sizeof attributes));
}
static int pivot_to_tmp(void) { return ok(syscall(SYS_pivot_root, "/tmp", "/tmp")); }
static int chroot_tmp(void) { return ok(chroot("/tmp")); }
static int unshare_user(void) { return ok(unshare(CLONE_NEWUSER)); }
static int unshare_mount(void) { return ok(unshare(CLONE_NEWNS)); }
static int unshare_net(void) { return ok(unshare(CLONE_NEWNET)); }
static int clone_with(unsigned long flags) {
  long pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) _exit(0);
  return ok(pid);
}
static int clone_user(void) { return clone_with(CLONE_NEWUSER); }
static int clone_user_mount(void) { return clone_with(CLONE_NEWUSER | CLONE_NEWNS); }
static int clone3_user(void) {
  uint64_t arguments[8] = {CLONE_NEWUSER, 0, 0, 0, SIGCHLD, 0, 0, 0};
  long pid = syscall(SYS_clone3, arguments, sizeof arguments);
  if (pid == 0) _exit(0);
  return ok(pid);
}
static int setns_own(void) { return ok(setns(open("/proc/self/ns/net", O_RDONLY), 0)); }
static int setns_first(void) { return ok(setns(open("/proc/1/ns/mnt", O_RDONLY), 0)); }
static int ptrace_me(void) { return ok(ptrace(PTRACE_TRACEME, 0, 0, 0)); }
static int ptrace_first(void) { return ok(ptrace(PTRACE_SEIZE, 1, 0, 0)); }
static int vm_read(void) {
  char from = 1, to = 0;
  struct iovec local = {&to, 1}, remote = {&from, 1};
  return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == 1;
}
static int vm_write(void) {
  char from = 1, to = 0;
  struct iovec local = {&from, 1}, remote = {&to, 1};
  return process_vm_writev(getpid(), &local, 1, &remote, 1, 0) == 1;
}
static int memory_of_first(void) { return opened("/proc/1/mem", O_RDWR); }
static int environment_of_first(void) { return read_some("/proc/1/environ"); }
static int root_of_first(void) { return opened("/proc/1/root", O_RDONLY | O_DIRECTORY); }
static int descriptors_of_first(void) { return opened("/proc/1/fd", O_RDONLY | O_DIRECTORY); }
static int keyctl_session(void) { return ok(syscall(SYS_keyctl, 0, -3, 1)); }
static int add_key(void) { return ok(syscall(SYS_add_key, "user", "apus", "x", 1, -4)); }
static int bpf_map(void) {
  uint32_t attributes[32] = {2, 4, 4, 1};
  return ok(syscall(SYS_bpf, 0, attributes, sizeof attributes));
}
static int io_uring(void) {
  char parameters[256] = {0};
  return ok(syscall(SYS_io_uring_setup, 2, parameters));
}
static int perf_event(void) {
  uint32_t attributes[32] = {1, 128};
  return ok(syscall(SYS_perf_event_open, attributes, 0, -1, -1, 0));
}
static int userfault(void) { return ok(syscall(SYS_userfaultfd, 1 /* user mode only */)); }
static int init_module(void) { return ok(syscall(SYS_init_module, "", 0, "")); }
static int finit_module(void) { return ok(syscall(SYS_finit_module, 0, "", 0)); }
static int kexec(void) { return ok(syscall(SYS_kexec_load, 0, 0, 0, 0)); }
static int mknod_block(void) { return ok(mknod("/tmp/disk", S_IFBLK | 0600, makedev(254, 0))); }
static int mknod_kmem(void) { return ok(mknod("/tmp/mem", S_IFCHR | 0600, makedev(1, 1))); }
static int set_clock(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return ok(clock_settime(CLOCK_REALTIME, &now));
}
static int set_time_of_day(void) {
  struct timeval now;
  gettimeofday(&now, NULL);
  return ok(settimeofday(&now, NULL));
}
static int adjust_clock(void) {
  struct timex change = {.modes = ADJ_FREQUENCY};
  return ok(adjtimex(&change));
}
static int socket_vsock(void) { return ok(socket(40, SOCK_STREAM, 0)); }
static int socket_alg(void) { return ok(socket(38, SOCK_SEQPACKET, 0)); }
static int socket_raw(void) { return ok(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)); }
static int socket_raw6(void) { return ok(socket(AF_INET6, SOCK_RAW, 58)); }
static int socket_packet(void) { return ok(socket(17, SOCK_RAW, 0)); }
static int socket_uevent(void) { return ok(socket(16, SOCK_RAW, 15)); }
static int socket_audit(void) { return ok(socket(16, SOCK_RAW, 9)); }
static int socket_netfilter(void) { return ok(socket(16, SOCK_RAW, 12)); }
static int read_host_file(void) { return read_some(host_file); }
static int read_shadow(void) { return read_some("/etc/shadow"); }
static int read_root_home(void) { return opened("/root", O_RDONLY | O_DIRECTORY); }
static int climb_out(void) {
  // Up from the code folder and the root, then down to the host's file.
  char path[4096] = "/function";
  for (int i = 0; i < 40; i++) strcat(path, "/..");
  strcat(path, host_file);
  return read_some(path);
}
static int climb_by_descriptor(void) {
  int fd = open("/function", O_RDONLY | O_DIRECTORY);
  for (int i = 0; i < 40; i++) fd = openat(fd, "..", O_RDONLY | O_DIRECTORY);
  return ok(openat(fd, host_file + 1, O_RDONLY));
}
static int by_handle(void) {
  char handle[64] = {8, 0, 0, 0, 1, 0, 0, 0, 2};
  return ok(syscall(SYS_open_by_handle_at, open("/", O_RDONLY), handle, O_RDONLY));
}
static int proc_kcore(void) { return read_some("/proc/kcore"); }
static int proc_keys(void) { return read_some("/proc/keys"); }
static int proc_kmsg(void) { return read_some("/proc/kmsg"); }
static int proc_kallsyms(void) { return read_some("/proc/kallsyms"); }
static int proc_sysrq(void) {
  // What takes the letter may be /dev/null in its place.
  struct stat info;
  if (stat("/proc/sysrq-trigger", &info) != 0 || S_ISCHR(info.st_mode)) return 0;
  return written("/proc/sysrq-trigger", "h");
}
static int proc_sys_write(void) { return written("/proc/sys/kernel/core_pattern", "|/tmp/x"); }
static int proc_sys_net_write(void) { return written("/proc/sys/net/ipv4/ip_forward", "1"); }
static int proc_oom_immune(void) { return written("/proc/self/oom_score_adj", "-1000"); }
static int proc_others(void) {
  // Numbers in /proc that are not ours: with hidepid neither process 1 nor anyone of the host shows.
  DIR *folder = opendir("/proc");
  struct dirent *entry;
  int foreign = 0;
  while (folder && (entry = readdir(folder)) != NULL) {
    int pid = atoi(entry->d_name);
    struct stat info;
    char path[300];
    snprintf(path, sizeof path, "/proc/%s", entry->d_name);
    if (pid > 0 && stat(path, &info) == 0 && info.st_uid != getuid()) foreign++;
  }
  errno = ENOENT;
  return foreign > 0;
}
static int sys_kernel(void) { return opened("/sys/kernel", O_RDONLY); }
static int sys_cgroup(void) { return opened("/sys/fs/cgroup", O_RDONLY); }
static int disk(void) {
  return opened("/dev/vda", O_RDONLY) || opened("/dev/sda", O_RDONLY) || opened("/dev/nvme0n1", O_RDONLY);
}
static int dev_mem(void) { return opened("/dev/mem", O_RDONLY); }
static int dev_kmsg(void) { return opened("/dev/kmsg", O_RDONLY); }
static int dev_loop(void) { return opened("/dev/loop-control", O_RDWR); }
static int dev_fuse(void) { return opened("/dev/fuse", O_RDWR); }
static int dev_tty(void) { return opened("/dev/tty", O_RDWR); }
static int dev_create(void) { return opened("/dev/x", O_CREAT | O_WRONLY); }
static int signal_host(void) { return ok(kill(host_pid, 0)); }
static int signal_pod(void) { return ok(kill(pod_pid, 0)); }
static int pidfd_pod(void) { return ok(syscall(SYS_pidfd_open, pod_pid, 0)); }
static int ptrace_pod(void) { return ok(ptrace(PTRACE_SEIZE, pod_pid, 0, 0)); }
static int of_pod(const char *what, int flags) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", pod_pid, what);
  return opened(path, flags);
}
static int memory_of_pod(void) { return of_pod("mem", O_RDWR); }
static int root_of_pod(void) { return of_pod("root", O_RDONLY | O_DIRECTORY); }
static int signal_first(void) {
  // SIGKILL to process 1 may be sent, but must not end it: we would not be here to tell.
  kill(1, SIGKILL);
  errno = EPERM;
  return kill(1, 0) != 0 && errno == ESRCH;
}
static int pidfd_host(void) { return ok(syscall(SYS_pidfd_open, host_pid, 0)); }
static int pidfd_getfd(void) { return ok(syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, getpid(), 0), 0, 0)); }
static int kcmp(void) { return ok(syscall(SYS_kcmp, getpid(), getpid(), 0, 0, 0)); }
static int become_root(void) { return ok(setuid(0)) || ok(setresuid(0, 0, 0)); }
static int become_group(void) { return ok(setgid(0)) || ok(setresgid(0, 0, 0)); }
static int become_neighbour(void) { return ok(setuid(getuid() + 65536)); }
static int set_groups(void) {
  gid_t zero = 0;
  return ok(setgroups(1, &zero));
}
static int gain_capability(void) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {{~0u, ~0u, ~0u}, {~0u, ~0u, ~0u}};
  return ok(syscall(SYS_capset, &header, data));
}
static int bounding_left(void) {
  errno = EPERM;
  for (int i = 0; i < 41; i++) {
    if (prctl(PR_CAPBSET_READ, i) == 1) return 1;
  }
  return 0;
}
static int new_privileges(void) {
  errno = EPERM;
  return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1;
}
static int nice_down(void) { return ok(setpriority(PRIO_PROCESS, 0, -5)); }
static int realtime(void) {
  struct sched_param parameter = {.sched_priority = 10};
  return ok(sched_setscheduler(0, SCHED_FIFO, &parameter));
}
static int raise_files(void) {
  struct rlimit limit = {1 << 20, 1 << 20};
  return ok(setrlimit(RLIMIT_NOFILE, &limit));
}
static int dump_core(void) {
  struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
  return ok(setrlimit(RLIMIT_CORE, &limit));
}
static int write_root(void) { return opened("/x", O_CREAT | O_WRONLY); }
static int write_usr(void) { return opened("/usr/x", O_CREAT | O_WRONLY); }
static int write_code(void) { return opened("/function/x", O_CREAT | O_WRONLY); }
static int write_passwd(void) { return opened("/etc/passwd", O_WRONLY); }
static int connect_to(const char *address, int port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  inet_pton(AF_INET, address, &to.sin_addr);
  return ok(connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&to, sizeof to));
}
static int host_loopback(void) { return connect_to("127.0.0.1", host_port); }
static int metadata_address(void) { return connect_to("169.254.169.254", 80); }
static int internet(void) { return connect_to("1.1.1.1", 80); }
static int send_udp(void) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(53)};
  inet_pton(AF_INET, "8.8.8.8", &to.sin_addr);
  return ok(sendto(socket(AF_INET, SOCK_DGRAM, 0), "x", 1, 0, (struct sockaddr *)&to, sizeof to));
}
static socklen_t abstract_address(struct sockaddr_un *address, const char *name) {
  *address = (struct sockaddr_un){.sun_family = AF_UNIX};
  strncpy(address->sun_path + 1, name, sizeof address->sun_path - 2);
  return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(address->sun_path + 1));
}
static int connect_abstract(const char *name) {
  struct sockaddr_un to;
  socklen_t length = abstract_address(&to, name);
  return ok(connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&to, length));
}
static int host_abstract_socket(void) { return connect_abstract(host_socket); }
static int pod_loopback(void) { return connect_to("127.0.0.1", pod_port); }
static int pod_abstract_socket(void) { return connect_abstract(pod_name); }
static key_t pod_key(void) {
  uint32_t hash = 2166136261u;
  for (const char *next = pod_name; *next != 0; next++) hash = (hash ^ (uint8_t)*next) * 16777619u;
  return (key_t)(hash | 1);
}
static int pod_shared_memory(void) { return ok(shmget(pod_key(), 0, 0)); }
static void pod_path(char *path, size_t size) { snprintf(path, size, "/tmp/%s", pod_name); }
static int pod_file(void) {
  char path[128];
  pod_path(path, sizeof path);
  return opened(path, O_RDWR);
}
static int quota(void) { return ok(syscall(SYS_quotactl, 0x800007 << 8, "/dev/vda", 0, 0)); }
static int swap_on(void) { return ok(swapon("/tmp/x", 0)); }
static int reboot_off(void) { return ok(syscall(SYS_reboot, 0xfee1dead, 672274793, 0, 0)); }
static int accounting(void) { return ok(acct(NULL)); }
static int kernel_log(void) { return ok(syscall(SYS_syslog, 10, 0, 0)); }
static int host_name(void) { return ok(sethostname("x", 1)); }
static int domain_name(void) { return ok(setdomainname("x", 1)); }
static int no_randomisation(void) { return ok(personality(ADDR_NO_RANDOMIZE)); }
static int hang_up(void) { return ok(vhangup()); }
static int secret_memory(void) { return ok(syscall(447 /* memfd_secret */, 0)); }
#ifdef SYS_iopl
static int io_ports(void) { return ok(syscall(SYS_iopl, 3)); }
#endif
static int stray_descriptors(void) {
  int found = 0;
  for (int fd = 3; fd < 1024; fd++) {
    if (fcntl(fd, F_GETFD) >= 0) found++;
  }
  errno = EBADF;
  return found > 0;
}
static int watch_code(void) {
  int fd = inotify_init1(0);
  return ok(inotify_add_watch(fd, "/usr", IN_ALL_EVENTS));
}
static int sync_host(void) { return ok(syscall(SYS_syncfs, open("/", O_RDONLY))); }
static int null_is_not_host(void) { return ok(fchmod(0, 0777)); }

#define PROBE(name) {#name, name}
static const struct {
  const char *name;
  probe *attempt;
} probes[] = {
  PROBE(mount_tmpfs), PROBE(mount_bind), PROBE(mount_remount), PROBE(mount_proc), PROBE(umount_proc),
  PROBE(open_tree_clone), PROBE(fsopen_tmpfs), PROBE(mount_setattr_rw), PROBE(pivot_to_tmp), PROBE(chroot_tmp),
  PROBE(unshare_user), PROBE(unshare_mount), PROBE(unshare_net), PROBE(clone_user), PROBE(clone_user_mount),
  PROBE(clone3_user), PROBE(setns_own), PROBE(setns_first), PROBE(ptrace_me), PROBE(ptrace_first), PROBE(vm_read),
  PROBE(vm_write), PROBE(memory_of_first), PROBE(environment_of_first), PROBE(root_of_first),
  PROBE(descriptors_of_first), PROBE(keyctl_session), PROBE(add_key), PROBE(bpf_map), PROBE(io_uring),
  PROBE(perf_event), PROBE(userfault), PROBE(init_module), PROBE(finit_module), PROBE(kexec), PROBE(mknod_block),
  PROBE(mknod_kmem), PROBE(set_clock), PROBE(set_time_of_day), PROBE(adjust_clock), PROBE(socket_vsock),
  PROBE(socket_alg), PROBE(socket_raw), PROBE(socket_raw6), PROBE(socket_packet), PROBE(socket_uevent),
  PROBE(socket_audit), PROBE(socket_netfilter), PROBE(read_host_file), PROBE(read_shadow), PROBE(read_root_home),
  PROBE(climb_out), PROBE(climb_by_descriptor), PROBE(by_handle), PROBE(proc_kcore), PROBE(proc_keys),
  PROBE(proc_kmsg), PROBE(proc_kallsyms), PROBE(proc_sysrq), PROBE(proc_sys_write), PROBE(proc_sys_net_write),
  PROBE(proc_oom_immune), PROBE(proc_others), PROBE(sys_kernel), PROBE(sys_cgroup), PROBE(disk), PROBE(dev_mem),
  PROBE(dev_kmsg), PROBE(dev_loop), PROBE(dev_fuse), PROBE(dev_tty), PROBE(dev_create), PROBE(signal_host),
  PROBE(signal_pod), PROBE(signal_first), PROBE(pidfd_host), PROBE(pidfd_getfd), PROBE(kcmp),
  PROBE(become_root), PROBE(become_group), PROBE(become_neighbour), PROBE(set_groups), PROBE(gain_capability),
  PROBE(bounding_left), PROBE(new_privileges), PROBE(nice_down), PROBE(realtime), PROBE(raise_files),
  PROBE(dump_core), PROBE(write_root), PROBE(write_usr), PROBE(write_code), PROBE(write_passwd),
  PROBE(host_loopback), PROBE(metadata_address), PROBE(internet), PROBE(send_udp), PROBE(host_abstract_socket),
  PROBE(quota), PROBE(swap_on), PROBE(reboot_off), PROBE(accounting), PROBE(kernel_log), PROBE(host_name),
  PROBE(domain_name), PROBE(no_randomisation), PROBE(hang_up), PROBE(secret_memory), PROBE(stray_descriptors),
  PROBE(null_is_not_host), PROBE(watch_code), PROBE(sync_host),
  PROBE(pidfd_pod), PROBE(ptrace_pod), PROBE(memory_of_pod), PROBE(root_of_pod), PROBE(pod_loopback),
  PROBE(pod_abstract_socket), PROBE(pod_shared_memory), PROBE(pod_file),
#ifdef SYS_iopl
  PROBE(io_ports),
#endif
};

/* Offers what `pod_...` probes try, until SIGTERM. What cannot be offered in a pod is not there. */
static int target(void) {
  sigset_t end;
  sigemptyset(&end);
  sigaddset(&end, SIGTERM);
  sigprocmask(SIG_BLOCK, &end, NULL);
  int tcp = socket(AF_INET, SOCK_STREAM, 0), unix_socket = socket(AF_UNIX, SOCK_STREAM, 0);
  struct sockaddr_in any = {.sin_family = AF_INET};
  socklen_t size = sizeof any;
  struct sockaddr_un own;
  if (bind(tcp, (struct sockaddr *)&any, size) != 0 || listen(tcp, 4) != 0) return 3;
  if (getsockname(tcp, (struct sockaddr *)&any, &size) != 0) return 3;
  if (bind(unix_socket, (struct sockaddr *)&own, abstract_address(&own, pod_name)) != 0) return 4;
  if (listen(unix_socket, 4) != 0) return 4;
  int memory = shmget(pod_key(), 4096, IPC_CREAT | 0666);
  char path[128];
  pod_path(path, sizeof path);
  int file = open(path, O_CREAT | O_RDWR, 0666);
  if (file < 0 || fchmod(file, 0666) != 0) return 5;
  printf("%d\n", ntohs(any.sin_port));
  fflush(stdout);
  int signal;
  sigwait(&end, &signal);
  if (memory >= 0) shmctl(memory, IPC_RMID, NULL);
  unlink(path);
  return 0;
}

static int is_wanted(const char *name, char **wanted, int count) {
  for (int i = 0; i < count; i++) {
    if (strcmp(wanted[i], name) == 0) return 1;
  }
  return count == 0;
}

int main(int count, char **arguments) {
  if (count == 3 && strcmp(arguments[1], "target") == 0) {
    pod_name = arguments[2];
    return target();
  }
  if (count < 8) return 2;
  host_pid = atoi(arguments[1]);
  host_port = atoi(arguments[2]);
  host_file = arguments[3];
  host_socket = arguments[4];
  pod_pid = atoi(arguments[5]);
  pod_port = atoi(arguments[6]);
  pod_name = arguments[7];
  for (size_t i = 0; i < sizeof probes / sizeof probes[0]; i++) {
    if (!is_wanted(probes[i].name, arguments + 8, count - 8)) continue;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
      alarm(5);
      errno = 0;
      int open = probes[i].attempt();
      printf("%s %s %s\n", probes[i].name, open ? "open" : "blocked", open ? "-" : strerrorname_np(errno));
      fflush(stdout);
      _exit(0);
    }
    int how = 0;
    waitpid(pid, &how, 0);
    if (!WIFEXITED(how)) printf("%s blocked signal-%d\n", probes[i].name, WTERMSIG(how));
  }
  return 0;
}
