// The few parts of CPython that the zygote needs, declared here after the stable ABI (PEP 384, "Stable ABI and
// Limited API" in CPython's documentation, everything below since 3.7): so neither CPython's headers nor its version are
// needed to build, and one file serves every CPython 3.7 and later. They are found in the interpreter that loads us.
#ifndef APUS_PYTHON_ABI_H
#define APUS_PYTHON_ABI_H

#include <stddef.h>

typedef struct _object PyObject;
typedef ptrdiff_t Py_ssize_t;

/* PyMethodDef, and PyModuleDef with its base, field by field; the stable ABI fixes them. */
struct python_method {
  const char *name;
  PyObject *(*function)(PyObject *self, PyObject *arguments);
  int flags;
  const char *doc;
};
enum { PYTHON_NO_ARGUMENTS = 0x0004, PYTHON_ONE_ARGUMENT = 0x0008 };

struct python_module {
  struct {
    Py_ssize_t references;
    void *type;
    PyObject *(*init)(void);
    Py_ssize_t index;
    PyObject *copy;
  } base;
  const char *name;
  const char *doc;
  Py_ssize_t size;
  struct python_method *methods;
  void *slots, *traverse, *clear, *free;
};
enum { PYTHON_STABLE_ABI = 3 };

extern PyObject *PyModule_Create2(struct python_module *module, int version);
extern PyObject *PyCFunction_NewEx(struct python_method *method, PyObject *self, PyObject *module);
extern PyObject *PyObject_CallObject(PyObject *callable, PyObject *arguments);
extern PyObject *PyBytes_FromStringAndSize(const char *bytes, Py_ssize_t length);
extern PyObject *PyBytes_FromString(const char *text);
extern void PyDict_Clear(PyObject *dictionary);
extern int PyDict_SetItem(PyObject *dictionary, PyObject *key, PyObject *value);
extern int PyObject_IsTrue(PyObject *object);
extern int PyCallable_Check(PyObject *object);
extern Py_ssize_t PyObject_Size(PyObject *object);
extern long PyLong_AsLong(PyObject *number);
extern void PyErr_Clear(void);
extern PyObject *PySys_GetObject(const char *name);
extern void Py_IncRef(PyObject *object);
extern void Py_DecRef(PyObject *object);
extern PyObject *PyBool_FromLong(long value);
extern PyObject *PyErr_SetFromErrno(PyObject *kind);
extern PyObject *PyExc_OSError;
extern void PyOS_BeforeFork(void);
extern void PyOS_AfterFork_Parent(void);
extern void PyOS_AfterFork_Child(void);

/* PyObjectArenaAllocator, and who sets it: public since 3.4, but no part of the stable ABI, so they may be missing. */
struct python_arenas {
  void *context;
  void *(*take)(void *context, size_t size);
  void (*give)(void *context, void *arena, size_t size);
};
extern void PyObject_GetArenaAllocator(struct python_arenas *arenas) __attribute__((weak));
extern void PyObject_SetArenaAllocator(struct python_arenas *arenas) __attribute__((weak));

#endif
