// What process 1 of a forked pod gives back: the interpreter, which it is a copy of and never enters.
#ifndef APUS_ZYGOTE_MEMORY_H
#define APUS_ZYGOTE_MEMORY_H

/* Learns what of this process's memory such a process needs, before any is forked. */
void memory_survey(void);
/* In process 1: gives all other memory back to the kernel. What may be called from then on: this file, CSandbox, the C
   library without its allocator. Again does nothing. */
void memory_shed(void);

#endif
