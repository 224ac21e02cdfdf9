// What a zygote has loaded it shares with all its pods, and each fork and each end goes through it page by page: four
// thousand entries, twice. In large pages it is eight. So the interpreter's arenas stand side by side in memory that asks for
// large pages (transparent huge pages, where the kernel gives them to who asks) as long as the zygote loads. A page that a
// pod writes to is copied alone, as before; and nothing that a pod takes later is large.
#include "arenas.h"
#include "python_abi.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LARGE ((uintptr_t)2 << 20)
#define REGION ((uintptr_t)64 << 20) /* of address space; what stays untouched is given back */
#define COLLAPSE 25                  /* MADV_COLLAPSE, Linux 6.1 */
#define MAPS_BYTES 16384             /* the heap is among the first mappings */

static uintptr_t region, next;
static struct python_arenas usual;

static uintptr_t up(uintptr_t address) { return (address + LARGE - 1) & ~(LARGE - 1); }

static void *take(void *context, size_t size) {
  (void)context;
  if (region == 0 || size > region + REGION - next) return usual.take(usual.context, size);
  void *arena = (void *)next;
  next += size;
  return arena;
}

/* Arenas of either kind are mappings. */
static void give(void *context, void *arena, size_t size) {
  (void)context;
  munmap(arena, size);
}

void arenas_gather(void) {
  if (PyObject_GetArenaAllocator == NULL || PyObject_SetArenaAllocator == NULL || region != 0) return;
  void *place = mmap(NULL, REGION + LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (place == MAP_FAILED) return;
  uintptr_t start = (uintptr_t)place;
  region = next = up(start);
  if (region > start) munmap(place, region - start);
  if (start + LARGE > region) munmap((void *)(region + REGION), start + LARGE - region);
  madvise((void *)region, REGION, MADV_HUGEPAGE);
  PyObject_GetArenaAllocator(&usual);
  struct python_arenas ours = {NULL, take, give};
  PyObject_SetArenaAllocator(&ours);
}

/* The C library's heap, as far as whole large pages lie in it. */
static void collapse_heap(void) {
  static char maps[MAPS_BYTES];
  int file = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  ssize_t length = file < 0 ? -1 : read(file, maps, sizeof maps - 1);
  if (file >= 0) close(file);
  if (length <= 0) return;
  maps[length] = 0;
  char *name = strstr(maps, "[heap]");
  if (name == NULL) return;
  while (name > maps && name[-1] != '\n') name--;
  unsigned long start, end;
  if (sscanf(name, "%lx-%lx", &start, &end) != 2) return;
  uintptr_t from = up(start), to = end & ~(LARGE - 1);
  if (to > from) madvise((void *)from, to - from, COLLAPSE);
}

void arenas_settle(void) {
  if (region == 0) return;
  uintptr_t end = region + REGION, used = up(next);
  if (end > used) munmap((void *)used, end - used);
  if (used > region) madvise((void *)region, used - region, MADV_NOHUGEPAGE);
  region = 0;
  collapse_heap();
}
