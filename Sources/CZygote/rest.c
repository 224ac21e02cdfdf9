// To end, the interpreter would run what a function registered for its end, wait for its threads, and write out its streams.
// Where there is none of that it would do nothing, and make fifty pages of itself this pod's own to find out, only to give
// them back. So this looks, and writes to none of them: it counts no reference and runs no code of Python's.
#include "rest.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

#define WATCHED_MAX 8

static struct {
  PyObject *what;
  Py_ssize_t zygotes;
} watched[WATCHED_MAX];
static size_t watched_count;
static PyObject *streams[2];

static volatile sig_atomic_t at_rest;
static struct sigaction interpreters;

/* -1 where it cannot be told; then there is something to do. */
static Py_ssize_t amount(PyObject *what) {
  Py_ssize_t found = -1;
  if (PyCallable_Check(what)) {
    PyObject *number = PyObject_CallObject(what, NULL);
    if (number != NULL) found = PyLong_AsLong(number);
    Py_DecRef(number);
  } else {
    found = PyObject_Size(what);
  }
  if (found < 0) PyErr_Clear();
  return found;
}

int rest_watch(PyObject *what) {
  if (watched_count == WATCHED_MAX) return 0;
  Py_IncRef(what);
  watched[watched_count++].what = what;
  return 1;
}

void rest_survey(void) {
  streams[0] = PySys_GetObject("stdout");
  streams[1] = PySys_GetObject("stderr");
  for (size_t i = 0; i < watched_count; i++) watched[i].zygotes = amount(watched[i].what);
}

/* Whether a function has a handler of the interpreter's for a signal that timers, children or other processes send: it may
   be in the midst of it when SIGTERM comes. */
static int handles_signals(void) {
  static const int signals[] = {SIGALRM, SIGVTALRM, SIGPROF, SIGUSR1, SIGUSR2, SIGHUP, SIGCHLD, SIGIO, SIGINT, SIGQUIT};
  for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
    struct sigaction found;
    if (sigaction(signals[i], NULL, &found) != 0 || found.sa_handler == interpreters.sa_handler) return 1;
  }
  return 0;
}

static int nothing_to_do(void) {
  if (PySys_GetObject("stdout") != streams[0] || PySys_GetObject("stderr") != streams[1]) return 0;
  for (size_t i = 0; i < watched_count; i++) {
    Py_ssize_t now = amount(watched[i].what);
    if (now < 0 || now != watched[i].zygotes) return 0;
  }
  return watched_count > 0;
}

static void on_term(int signal) {
  if (at_rest && !handles_signals()) _exit(0);
  interpreters.sa_handler(signal);
}

int rest_take_signal(void) {
  if (sigaction(SIGTERM, NULL, &interpreters) != 0) return -1;
  struct sigaction ours = interpreters;
  ours.sa_handler = on_term;
  return sigaction(SIGTERM, &ours, NULL);
}

int rest_begin(int idle) {
  at_rest = idle && nothing_to_do();
  return at_rest;
}
