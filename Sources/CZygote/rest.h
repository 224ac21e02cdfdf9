// The end of a pod that waits for a call and has nothing to do.
#ifndef APUS_ZYGOTE_REST_H
#define APUS_ZYGOTE_REST_H

#include "python_abi.h"

/* In the zygote: names something that a function adds to when something is to be done at its end: a list or dictionary that
   grows, a callable that counts. 0 when there are too many. */
int rest_watch(PyObject *what);
/* In the zygote, when all is named: how much there is now is its own, and nothing; so are its
   streams. */
void rest_survey(void);
/* In a pod: SIGTERM ends it at once while it is at rest, and is the interpreter's otherwise. 0, or -1 with errno. */
int rest_take_signal(void);
/* Whether it is at rest now: it waits (`idle`), and nothing is to be done at its end. */
int rest_begin(int idle);

#endif
