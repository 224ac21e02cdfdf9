// Where the interpreter's memory is while a zygote loads.
#ifndef APUS_ZYGOTE_ARENAS_H
#define APUS_ZYGOTE_ARENAS_H

/* From now on the interpreter's arenas are taken side by side, in large pages. Does nothing where that cannot be. */
void arenas_gather(void);
/* No more of them: what is taken from now on, by pods, is in pages of the usual size. */
void arenas_settle(void);

#endif
