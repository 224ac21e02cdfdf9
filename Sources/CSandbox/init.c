// Process 1 of a pod. The kernel ignores SIGTERM for a process 1 without a handler and gives it every orphan, so the
// user's command does not have that place: this does. It waits, privileged and alone with code of ours, for the message
// that says what the pod is; it hangs in what that names, gives up every privilege, and only then is there anything of a
// user's to run. From then on it passes signals on, reaps, and ends when the command ends, which makes the kernel kill
// whatever the command left behind.
//
// The command is one of three: executed when BIND comes; executed before and waiting for its payload (a warm
// interpreter); or, in a pod that a zygote made, this process's own fork, which goes on in the interpreter's code.
#include "csandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define COMMAND_FDS 7 /* 0 null, 1 stdout, 2 stderr, 3 listener, 4 frames, 5 control, 6 payload */
#define STATUS_FD COMMAND_FDS
#define PARKED_FD 16 /* descriptors wait above this one while 0…7 are filled */

/* Puts the command's descriptors in their places and closes everything else. */
static void place_descriptors(const struct pod_descriptors *given, int payload) {
  int status = given->status;
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) pod_fail(status, APUS_STEP_DESCRIPTORS);
  int wanted[COMMAND_FDS + 1] = {
    null,
    given->out >= 0 ? given->out : null,
    given->err >= 0 ? given->err : null,
    given->listener, given->frames, given->control, payload, status,
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
  if (dup3(status, STATUS_FD, O_CLOEXEC) < 0) pod_fail(status, APUS_STEP_DESCRIPTORS);
  if (syscall(SYS_close_range, STATUS_FD + 1, ~0u, 0) != 0) pod_fail(STATUS_FD, APUS_STEP_DESCRIPTORS);
}

/* execve with the search a shell would do in the pod's own PATH. */
static void execute(const struct apus_command *command) {
  char *const *argv = (char *const *)command->arguments, *const *envp = (char *const *)command->environment;
  const char *name = command->arguments[0], *path = "/usr/local/bin:/usr/bin:/bin";
  if (strchr(name, '/') != NULL) {
    execve(name, argv, envp);
    return;
  }
  for (size_t i = 0; command->environment[i] != NULL; i++) {
    if (strncmp(command->environment[i], "PATH=", 5) == 0) path = command->environment[i] + 5;
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

/* A session of its own: no terminal, no process group shared with anyone; signals as a new program expects them. */
static void begin_command(void) {
  setsid();
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

__attribute__((noreturn)) static void command_main(
    const struct apus_bind *bind, const struct pod_descriptors *given) {
  place_descriptors(given, -1);
  if (chdir(bind->directory) != 0) pod_fail(STATUS_FD, APUS_STEP_DIRECTORY);
  begin_command();
  execute(&bind->command);
  pod_fail(STATUS_FD, APUS_STEP_EXEC);
}

/* Unprivileged before it runs anything but this file: what it gets to know later cannot give privileges back. */
static void become_user(const struct apus_spawn *spawn, int status) {
  drop_privileges(spawn->head.uid, spawn->head.gid, status);
  int own_root = (spawn->head.flags & APUS_OWN_ROOT) != 0;
  if ((spawn->head.flags & APUS_SECCOMP) && filter_install(own_root) != 0) pod_fail(status, APUS_STEP_SECCOMP);
}

__attribute__((noreturn)) static void warm_main(
    const struct apus_spawn *spawn, const struct pod_descriptors *given, int payload) {
  place_descriptors(given, payload);
  become_user(spawn, STATUS_FD);
  begin_command();
  execute(&spawn->command);
  pod_fail(STATUS_FD, APUS_STEP_EXEC);
}

/* In the zygote's fork: what follows is the interpreter's code. Process 1 waits at the other end of `dropped`. */
static void forked_main(const struct apus_spawn *spawn, const struct pod_descriptors *given, int payload, int dropped) {
  become_user(spawn, given->status);
  if (write(dropped, "d", 1) != 1) pod_fail(given->status, APUS_STEP_FORK);
  place_descriptors(given, payload);
  // Nothing was executed since the zygote: without this the function could not open its own files below /proc/self.
  prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
  begin_command();
  close(STATUS_FD);
}

static void report(int status, uint32_t kind, int code, uint64_t at) {
  struct pod_report message = {.kind = kind, .step = 0, .code = code, .at = at};
  ssize_t ignored = write(status, &message, sizeof message);
  (void)ignored;
}

/* Reaps everyone; the command's end is the pod's end. */
static void reap(pid_t command, int status) {
  int how;
  pid_t pid;
  while ((pid = waitpid(-1, &how, WNOHANG)) > 0) {
    if (pid != command) continue;
    report(status, REPORT_ENDED, how, now_ns());
    _exit(0);
  }
}

/* CLONE_VFORK: the caller sleeps until the child has executed or ended, so "executed" is known without polling. */
static pid_t vfork_command(int status) {
  long pid = syscall(SYS_clone, CLONE_VFORK | SIGCHLD, 0, 0, 0, 0);
  if (pid < 0) pod_fail(status, APUS_STEP_FORK);
  return (pid_t)pid;
}

/* Starts the command that waits; returns when it is unprivileged, as what follows relies on that. 0 in a zygote's fork. */
static pid_t start_warm(const struct apus_spawn *spawn, const struct pod_descriptors *given, int forked, int payload) {
  int dropped[2] = {-1, -1};
  if (forked && pipe2(dropped, O_CLOEXEC) != 0) pod_fail(given->status, APUS_STEP_DESCRIPTORS);
  pid_t command = forked ? fork() : vfork_command(given->status);
  if (command < 0) pod_fail(given->status, APUS_STEP_FORK);
  if (command == 0) {
    if (!forked) warm_main(spawn, given, payload);
    forked_main(spawn, given, payload, dropped[1]);
    return 0;
  }
  // Only the command holds its descriptors: a closed stdout must read as closed. The control pipe is let go of later.
  const int commands[] = {payload, given->out, given->err, given->listener, given->frames, dropped[1]};
  for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
    if (commands[i] >= 0) close(commands[i]);
  }
  char byte;
  // One that could not give its privileges up said so itself.
  if (forked && read(dropped[0], &byte, 1) != 1) _exit(127);
  if (forked) close(dropped[0]);
  return command;
}

/* Whether BIND is there already: a pod that somebody waits for. */
static int is_bound(const struct pod_descriptors *given) {
  struct pollfd watched = {.fd = given->bind, .events = POLLIN};
  return poll(&watched, 1, 0) > 0;
}

/* Waits for BIND. Who asks the pod to end before that, or lets go of its socket, ends it: nobody's work is in it. */
static void await_bind(const struct pod_descriptors *given, const sigset_t *awaited, pid_t command,
                       struct apus_bind *bind, int *descriptors) {
  static uint8_t bytes[APUS_MESSAGE_MAX];
  int signals = signalfd(-1, awaited, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals < 0) pod_fail(given->status, APUS_STEP_BIND);
  struct pollfd watched[2] = {{.fd = given->bind, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
  while (poll(watched, 2, -1) < 0 || watched[0].revents == 0) {
    struct signalfd_siginfo signal;
    while (read(signals, &signal, sizeof signal) == (ssize_t)sizeof signal) {
      if (signal.ssi_signo != SIGCHLD) _exit(0);
      reap(command, given->status);
    }
  }
  close(signals);
  size_t count;
  ssize_t length = message_receive(given->bind, bytes, sizeof bytes, 0, descriptors, &count);
  if (length <= 0) _exit(0);
  int refusal = apus_decode_bind(bytes, (size_t)length, count, command > 0, bind);
  if (refusal != APUS_OK) {
    errno = -refusal;
    pod_fail(given->status, APUS_STEP_BIND);
  }
}

/* Tells a warm command what it is: the length of what follows, then `NAME=value` and NUL for each variable. */
static void send_payload(int payload, const struct apus_command *command) {
  uint32_t length = 0;
  for (size_t i = 0; command->environment[i] != NULL; i++) length += (uint32_t)strlen(command->environment[i]) + 1;
  // SIGPIPE is blocked: a command that is gone is heard of as a child that ended.
  if (write(payload, &length, sizeof length) != (ssize_t)sizeof length) return;
  if (length == 0) return;
  // The strings stand one behind the other in the message.
  const char *next = command->environment[0];
  while (length > 0) {
    ssize_t count = write(payload, next, length);
    if (count <= 0) return;
    next += count;
    length -= (uint32_t)count;
  }
}

/* Says when the command begins, ahead of everything the command may write there: the letter and the time in hexadecimal. */
static void tell_beginning(int control, uint64_t at) {
  char text[32];
  int length = snprintf(text, sizeof text, "%c%016llx", APUS_CONTROL_BEGINS, (unsigned long long)at);
  ssize_t ignored = control < 0 ? 0 : write(control, text, (size_t)length);
  (void)ignored;
}

/* The last of the privileged steps, and the end of the privileges. */
static void become_pod(const struct apus_spawn *spawn, const struct pod_descriptors *given,
                       const struct apus_bind *bind, const int *received) {
  int code = -1, secrets = -1;
  if (bind->head.flags & APUS_FD_CODE) code = *received++;
  if (bind->head.flags & APUS_FD_SECRETS) secrets = *received++;
  bind_mounts(spawn, bind, code, secrets, given->status);
  if (secrets >= 0) close(secrets);
  if (sethostname(bind->hostname, strlen(bind->hostname)) != 0) pod_fail(given->status, APUS_STEP_HOSTNAME);
}

void init_main(const struct apus_spawn *spawn, struct pod_descriptors *given, void (*shed)(void)) {
  static const int passed_on[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH};
  static struct apus_bind bind;
  sigset_t all, awaited;
  sigfillset(&all);
  // Blocked signals are queued even for process 1, so none is lost and no handler can race.
  sigprocmask(SIG_SETMASK, &all, NULL);
  sigemptyset(&awaited);
  sigaddset(&awaited, SIGCHLD);
  for (size_t i = 0; i < sizeof passed_on / sizeof passed_on[0]; i++) sigaddset(&awaited, passed_on[i]);

  int payload[2] = {-1, -1}, received[APUS_DESCRIPTORS_MAX];
  pid_t command = 0;
  if (shed != NULL || spawn->head.arguments > 0) {
    if (pipe2(payload, O_CLOEXEC) != 0) pod_fail(given->status, APUS_STEP_DESCRIPTORS);
    command = start_warm(spawn, given, shed != NULL, payload[0]);
    if (command == 0) return;
  }
  report(given->status, REPORT_STANDS, 0, now_ns());
  if (shed != NULL && !is_bound(given)) shed();
  await_bind(given, &awaited, command, &bind, received);
  become_pod(spawn, given, &bind, received);
  if (command == 0) set_limits(&bind, 0, given->status);
  // Last: everything above needs calls the filter refuses. Inherited by a command that is executed now.
  become_user(spawn, given->status);
  uint64_t begins = now_ns();
  tell_beginning(given->control, begins);
  if (command > 0) {
    set_limits(&bind, command, given->status);
    send_payload(payload[1], &bind.command);
  } else {
    command = vfork_command(given->status);
    if (command == 0) command_main(&bind, given);
  }
  // From here on this process has nothing but the status pipe.
  int status = fcntl(given->status, F_DUPFD_CLOEXEC, PARKED_FD);
  if (status >= 0) dup2(status, 0);
  syscall(SYS_close_range, 1, ~0u, 0);
  // A child that failed to execute reported it itself, before it ended; the spawner hears the first report.
  report(0, REPORT_BOUND, 0, begins);
  if (shed != NULL) shed();
  reap(command, 0);
  for (;;) {
    int signal = sigwaitinfo(&awaited, NULL);
    if (signal == SIGCHLD) {
      reap(command, 0);
    } else if (signal > 0) {
      kill(command, signal);
    }
  }
}
