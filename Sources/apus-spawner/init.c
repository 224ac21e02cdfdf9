// Process 1 of a pod. The kernel ignores SIGTERM for a process 1 without a handler and gives it every orphan, so the
// user's command does not have that place: this does. It holds no descriptor of the command, passes signals on, reaps,
// and ends when the command ends, which makes the kernel kill whatever the command left behind.
#include "spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define COMMAND_FDS 6  /* 0 null, 1 stdout, 2 stderr, 3 listener, 4 frames, 5 control */
#define PARKED_FD 16   /* descriptors wait above this one while 0…6 are filled */

/* Puts the command's descriptors in their places and closes everything else. */
static void place_descriptors(const struct pod_descriptors *given, int status) {
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) pod_fail(status, APUS_STEP_DESCRIPTORS);
  int wanted[COMMAND_FDS + 1] = {
    null,
    given->out >= 0 ? given->out : null,
    given->err >= 0 ? given->err : null,
    given->listener, given->frames, given->control, status,
  };
  for (int i = 0; i <= COMMAND_FDS; i++) {
    if (wanted[i] < 0) continue;
    wanted[i] = fcntl(wanted[i], F_DUPFD_CLOEXEC, PARKED_FD);
    if (wanted[i] < 0) pod_fail(status, APUS_STEP_DESCRIPTORS);
  }
  status = wanted[COMMAND_FDS];
  for (int i = 0; i < COMMAND_FDS; i++) {
    if (wanted[i] >= 0) {
      if (dup2(wanted[i], i) < 0) pod_fail(status, APUS_STEP_DESCRIPTORS);
    } else {
      close(i);
    }
  }
  // The status pipe stays until exec, to say why exec failed; it closes by itself when exec succeeds.
  if (dup3(status, COMMAND_FDS, O_CLOEXEC) < 0) pod_fail(status, APUS_STEP_DESCRIPTORS);
  if (syscall(SYS_close_range, COMMAND_FDS + 1, ~0u, 0) != 0) pod_fail(COMMAND_FDS, APUS_STEP_DESCRIPTORS);
}

/* execve with the search a shell would do in the pod's own PATH. */
static void execute(const struct apus_spawn *spawn) {
  char *const *argv = (char *const *)spawn->arguments, *const *envp = (char *const *)spawn->environment;
  const char *name = spawn->arguments[0], *path = "/usr/local/bin:/usr/bin:/bin";
  if (strchr(name, '/') != NULL) {
    execve(name, argv, envp);
    return;
  }
  for (size_t i = 0; spawn->environment[i] != NULL; i++) {
    if (strncmp(spawn->environment[i], "PATH=", 5) == 0) path = spawn->environment[i] + 5;
  }
  int worst = ENOENT;
  while (*path != 0) {
    size_t length = strcspn(path, ":");
    char candidate[PATH_MAX];
    if (length > 0 && length < 1024 && strlen(name) < 1024) {
      snprintf(candidate, sizeof candidate, "%.*s/%s", (int)length, path, name);
      execve(candidate, argv, envp);
      if (errno != ENOENT && errno != ENOTDIR) worst = errno;
    }
    path += length;
    if (*path == ':') path++;
  }
  errno = worst;
}

__attribute__((noreturn)) static void command_main(
    const struct apus_spawn *spawn, const struct pod_descriptors *given, int status) {
  place_descriptors(given, status);
  status = COMMAND_FDS;
  const char *directory = spawn->directory;
  if (directory == NULL && (spawn->head.flags & APUS_FD_CODE)) directory = "/function";
  if (directory != NULL && chdir(directory) != 0) pod_fail(status, APUS_STEP_DIRECTORY);
  // A session of its own: no terminal, no process group shared with anyone.
  setsid();
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  execute(spawn);
  pod_fail(status, APUS_STEP_EXEC);
}

static void report(int status, uint32_t kind, int code) {
  struct pod_report message = {.kind = kind, .step = 0, .code = code};
  ssize_t ignored = write(status, &message, sizeof message);
  (void)ignored;
}

/* Reaps everyone; the command's end is the pod's end. */
static void reap(pid_t command, int status) {
  int how;
  pid_t pid;
  while ((pid = waitpid(-1, &how, WNOHANG)) > 0) {
    if (pid != command) continue;
    report(status, REPORT_ENDED, how);
    _exit(0);
  }
}

void init_main(const struct apus_spawn *spawn, const struct pod_descriptors *given, int status) {
  static const int passed_on[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH};
  sigset_t all, awaited;
  sigfillset(&all);
  // Blocked signals are queued even for process 1, so none is lost and no handler can race.
  sigprocmask(SIG_SETMASK, &all, NULL);
  sigemptyset(&awaited);
  sigaddset(&awaited, SIGCHLD);
  for (size_t i = 0; i < sizeof passed_on / sizeof passed_on[0]; i++) sigaddset(&awaited, passed_on[i]);

  // CLONE_VFORK: this process sleeps until the child has executed or ended, so "executed" is known without polling.
  long command = syscall(SYS_clone, CLONE_VFORK | SIGCHLD, 0, 0, 0, 0);
  if (command < 0) pod_fail(status, APUS_STEP_FORK);
  if (command == 0) command_main(spawn, given, status);

  // From here on this process has nothing but the status pipe: a closed stdout must read as closed.
  if (status != 0) dup2(status, 0);
  syscall(SYS_close_range, 1, ~0u, 0);
  // A child that failed to execute reported it itself, before it ended; the spawner hears the first report.
  report(0, REPORT_EXECUTED, 0);
  reap((pid_t)command, 0);
  for (;;) {
    int signal = sigwaitinfo(&awaited, NULL);
    if (signal == SIGCHLD) {
      reap((pid_t)command, 0);
    } else if (signal > 0) {
      kill((pid_t)command, signal);
    }
  }
}
