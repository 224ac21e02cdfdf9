// apus_zygote: the C part of the Python zygote. `serve()` waits on descriptor 3 for the spawner's SPAWN messages and forks
// a pod for each; it returns only in a pod, unprivileged and with the pod's descriptors in their places. `wait()` says so on
// the control pipe, waits until the pod is told what it is, and puts that in the place of the process's environment and of
// the dictionary of bytes that it is given, posix.environ. `end_at_rest()` and `rest()` let SIGTERM end a pod that waits and
// has nothing to do. In C, because Python's own way to do so would make fifty pages this pod's own.
//
// Single-threaded, as everyone who forks and goes on must be.
#include "../CSandbox/include/csandbox.h"
#include "arenas.h"
#include "memory.h"
#include "python_abi.h"
#include "rest.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Told on the control pipe when a warm command waits. */
static const char waits = APUS_CONTROL_WAITS;
#define CONTROL_FD 5

static void answer(uint64_t ticket, uint32_t slot, pid_t pid, int pidfd, int error) {
  struct apus_reply reply = {.head = {.type = pid > 0 ? APUS_STARTED : APUS_FAILED, .slot = slot, .ticket = ticket},
                             .step = pid > 0 ? APUS_STEP_NONE : APUS_STEP_CLONE,
                             .code = pid > 0 ? pid : error};
  if (message_reply(APUS_SOCKET_FD, &reply, pid > 0 ? pidfd : -1) != 0) _exit(0);
}

/* Forks pods until the spawner is gone; returns in a pod. */
static void fork_pods(void) {
  static uint8_t bytes[APUS_MESSAGE_MAX];
  static struct apus_spawn spawn;
  struct apus_reply ready = {.head = {.type = APUS_READY}};
  if (message_reply(APUS_SOCKET_FD, &ready, -1) != 0) _exit(0);
  for (;;) {
    int descriptors[APUS_DESCRIPTORS_MAX], pidfd = -1;
    size_t count;
    ssize_t length = message_receive(APUS_SOCKET_FD, bytes, sizeof bytes, 0, descriptors, &count);
    if (length < 0 && errno == EINTR) continue;
    int lost = length < 0 && (errno == EMSGSIZE || errno == EMFILE);
    int refusal = lost ? -errno : APUS_OK;
    if (length <= 0 && !lost) _exit(0);
    if (!lost) refusal = apus_decode_spawn(bytes, (size_t)length, count, &spawn);
    if (refusal == APUS_OK) {
      struct pod_descriptors given = message_sort(&spawn, descriptors);
      PyOS_BeforeFork();
      pid_t pid = pod_clone(&spawn, &given, CLONE_PARENT, &pidfd);
      if (pid == 0) {
        pod_main(&spawn, &given, memory_shed);
        PyOS_AfterFork_Child();
        return;
      }
      int error = errno;
      PyOS_AfterFork_Parent();
      answer(spawn.head.head.ticket, spawn.head.head.slot, pid, pidfd, error);
      if (pidfd >= 0) close(pidfd);
    } else {
      struct apus_head head;
      memcpy(&head, bytes, sizeof head);
      answer(head.ticket, head.slot, 0, -1, -refusal);
    }
    close_all(descriptors, count);
  }
}

/* Exactly `length` bytes, or the end of this process: without its payload a pod is nothing. */
static void read_all(int fd, void *bytes, size_t length) {
  for (size_t done = 0; done < length;) {
    ssize_t count = read(fd, (char *)bytes + done, length - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) _exit(0);
    done += (size_t)count;
  }
}

/* Set in a pod. */
static int in_pod;

static PyObject *gather(PyObject *self, PyObject *none) {
  (void)self;
  (void)none;
  arenas_gather();
  return PyBool_FromLong(1);
}

static PyObject *serve(PyObject *self, PyObject *none) {
  (void)self;
  (void)none;
  // The worker's end is the spawner's end, and that one's is ours.
  prctl(PR_SET_PDEATHSIG, 9 /* SIGKILL */, 0, 0, 0);
  memory_survey();
  arenas_settle();
  rest_survey();
  if (filter_build() != 0) return PyErr_SetFromErrno(PyExc_OSError);
  fork_pods();
  in_pod = 1;
  return PyBool_FromLong(1);
}

/* `NAME=value` and NUL for each variable. 0, or -1 with Python's error set. */
static int take_environment(char *payload, uint32_t length, PyObject *dictionary) {
  clearenv();
  PyDict_Clear(dictionary);
  char *end = payload + length;
  for (char *next = payload; next < end && memchr(next, 0, (size_t)(end - next)) != NULL; next += strlen(next) + 1) {
    char *equals = strchr(next, '=');
    if (equals == NULL) continue;
    PyObject *name = PyBytes_FromStringAndSize(next, equals - next), *value = PyBytes_FromString(equals + 1);
    int failed = name == NULL || value == NULL || PyDict_SetItem(dictionary, name, value) != 0;
    Py_DecRef(name);
    Py_DecRef(value);
    // The payload stays, so the environment may point into it.
    if (failed || putenv(next) != 0) return -1;
    next = equals + 1;
  }
  return 0;
}

static PyObject *wait_told(PyObject *self, PyObject *dictionary) {
  (void)self;
  static char payload[APUS_MESSAGE_MAX];
  uint32_t length;
  ssize_t ignored = write(CONTROL_FD, &waits, 1);
  (void)ignored;
  read_all(APUS_PAYLOAD_FD, &length, sizeof length);
  if (length > sizeof payload) _exit(1);
  read_all(APUS_PAYLOAD_FD, payload, length);
  close(APUS_PAYLOAD_FD);
  if (take_environment(payload, length, dictionary) != 0) return NULL;
  return PyBool_FromLong(1);
}

static PyObject *run_in_pod(PyObject *callable, PyObject *none) {
  (void)none;
  return in_pod ? PyObject_CallObject(callable, NULL) : PyBool_FromLong(0);
}

static PyObject *in_pods(PyObject *self, PyObject *callable) {
  (void)self;
  static struct python_method method = {"in_pods", run_in_pod, PYTHON_NO_ARGUMENTS, "Calls another, but not in the zygote."};
  return PyCFunction_NewEx(&method, callable, NULL);
}

/* In the place of the interpreter's handler of SIGTERM, which must be set; one that is set later takes the place of ours. */
static PyObject *end_at_rest(PyObject *self, PyObject *none) {
  (void)self;
  (void)none;
  if (rest_take_signal() != 0) return PyErr_SetFromErrno(PyExc_OSError);
  return PyBool_FromLong(1);
}

static PyObject *rest(PyObject *self, PyObject *idle) {
  (void)self;
  return PyBool_FromLong(rest_begin(PyObject_IsTrue(idle) == 1));
}

static PyObject *watch(PyObject *self, PyObject *what) {
  (void)self;
  return PyBool_FromLong(rest_watch(what));
}

static struct python_method methods[] = {
  {"gather", gather, PYTHON_NO_ARGUMENTS, "Takes the interpreter's memory in large pages until it serves."},
  {"serve", serve, PYTHON_NO_ARGUMENTS, "Forks pods; returns in each of them."},
  {"in_pods", in_pods, PYTHON_ONE_ARGUMENT, "A callable that calls the given one in pods, and does nothing in the zygote."},
  {"end_at_rest", end_at_rest, PYTHON_NO_ARGUMENTS, "Lets SIGTERM end the process at once while it is at rest."},
  {"rest", rest, PYTHON_ONE_ARGUMENT, "Says whether it is, as far as nothing is to be done at its end."},
  {"watch", watch, PYTHON_ONE_ARGUMENT, "Names something that a function adds to when something is to be done at its end."},
  {"wait", wait_told, PYTHON_ONE_ARGUMENT, "Waits for that and fills the dictionary with the environment."},
  {0},
};

static struct python_module module = {
  .base = {.references = 1}, .name = "apus_zygote", .doc = "The C part of the Python zygote.", .size = -1,
  .methods = methods,
};

__attribute__((visibility("default"))) PyObject *PyInit_apus_zygote(void);
PyObject *PyInit_apus_zygote(void) { return PyModule_Create2(&module, PYTHON_STABLE_ABI); }
