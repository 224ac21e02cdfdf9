/* Counts what a program takes from the heap, from outside: LD_PRELOAD=mallocs.so MALLOCS_FILE=F program. F holds one 64-bit
 * count, written as the program runs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static _Atomic uint64_t fallback;
static _Atomic uint64_t *count = &fallback;

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("MALLOCS_FILE");
  int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
  if (fd < 0 || ftruncate(fd, sizeof *count) != 0) return;
  void *shared = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (shared != MAP_FAILED) count = shared;
}

static void one(void) { atomic_fetch_add_explicit(count, 1, memory_order_relaxed); }

void *malloc(size_t size) { return one(), __libc_malloc(size); }
void *calloc(size_t number, size_t size) { return one(), __libc_calloc(number, size); }
void *realloc(void *old, size_t size) { return one(), __libc_realloc(old, size); }
void *memalign(size_t alignment, size_t size) { return one(), __libc_memalign(alignment, size); }
void *aligned_alloc(size_t alignment, size_t size) { return one(), __libc_memalign(alignment, size); }
int posix_memalign(void **result, size_t alignment, size_t size) {
  one();
  *result = __libc_memalign(alignment, size);
  return *result ? 0 : 12;
}
