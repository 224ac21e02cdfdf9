// Process 1 of a pod lives as long as the pod, and all it does is wait. Forked from an interpreter it would keep a copy of
// its page tables and of the kernel's books of each mapping, so it gives back everything but the code it runs (ours, the C
// library, the loader should a call still have to be found), what the C library keeps for a thread, and its stack.
#include "memory.h"

#include <errno.h>
#include <gnu/libc-version.h>
#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#define KEPT_MAX 6
/* The thread's block is a few KiB around its errno; the kernel's own pages are a few on either side of their start. */
#define AROUND_BYTES ((uintptr_t)64 << 10)
/* Below the stack pointer; RLIMIT_STACK is 8 MiB, and nothing of the interpreter's is mapped that near. */
#define STACK_BYTES ((uintptr_t)8 << 20)
/* Nobody may map the first pages (vm.mmap_min_addr). */
#define LOWEST ((uintptr_t)64 << 10)

static struct {
  uintptr_t start, end;
} kept[KEPT_MAX];
static size_t kept_count;

/* In the order of their addresses. */
static void keep(uintptr_t start, uintptr_t end) {
  uintptr_t page = (uintptr_t)getpagesize();
  size_t i = kept_count++;
  for (; i > 0 && kept[i - 1].start > start; i--) kept[i] = kept[i - 1];
  kept[i].start = start & ~(page - 1);
  kept[i].end = (end + page - 1) & ~(page - 1);
}

/* Keeps a loaded file, with its zeroed data, if it is one of those that process 1 runs code of. */
static int keep_code(struct dl_phdr_info *file, size_t size, void *none) {
  (void)size;
  (void)none;
  const uintptr_t code[] = {(uintptr_t)&memory_survey, (uintptr_t)&gnu_get_libc_version, (uintptr_t)getauxval(AT_BASE)};
  uintptr_t start = UINTPTR_MAX, end = 0;
  for (size_t i = 0; i < file->dlpi_phnum; i++) {
    const ElfW(Phdr) *part = &file->dlpi_phdr[i];
    if (part->p_type != PT_LOAD) continue;
    uintptr_t from = file->dlpi_addr + part->p_vaddr, to = from + part->p_memsz;
    if (from < start) start = from;
    if (to > end) end = to;
  }
  for (size_t i = 0; i < sizeof code / sizeof code[0]; i++) {
    if (code[i] < start || code[i] >= end) continue;
    if (kept_count < KEPT_MAX - 2) keep(start, end);
    return 0;
  }
  return 0;
}

void memory_survey(void) {
  uintptr_t thread = (uintptr_t)&errno, kernel = (uintptr_t)getauxval(AT_SYSINFO_EHDR);
  kept_count = 0;
  dl_iterate_phdr(keep_code, NULL);
  keep(thread - AROUND_BYTES, thread + AROUND_BYTES);
  if (kernel != 0) keep(kernel - AROUND_BYTES, kernel + AROUND_BYTES);
}

void memory_shed(void) {
  uintptr_t stack = ((uintptr_t)__builtin_frame_address(0) - STACK_BYTES) & ~((uintptr_t)getpagesize() - 1);
  uintptr_t from = LOWEST;
  for (size_t i = 0; i <= kept_count; i++) {
    uintptr_t to = i < kept_count ? kept[i].start : stack;
    if (to > stack) to = stack;
    if (to > from) munmap((void *)from, to - from);
    if (i < kept_count && kept[i].end > from) from = kept[i].end;
  }
}
