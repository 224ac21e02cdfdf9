// A module of CPython, loaded by functions/runtimes/python/zygote.py; nothing here is called from C.
#ifndef APUS_ZYGOTE_H
#define APUS_ZYGOTE_H
#endif
