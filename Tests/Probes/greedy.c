// What takes more than it may, in one of these ways:
//   memory        until it is killed
//   forks         processes that stay; prints how many there were when no more could be made
//   bytes         a file in /tmp; prints how large it grew and why it grew no further
//   files         files in /tmp; prints how many there were and why there were no more
//   processor     all it gets, in two processes
//   descriptors   prints the limits of open files and of core dumps
// Built by the tests with: cc -static greedy.c
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static int memory(void) {
  for (;;) {
    char *part = malloc(1 << 20);
    if (part == NULL) return 1;
    memset(part, 1, 1 << 20);
  }
}

static int forks(void) {
  int made = 0;
  for (; made < 10000; made++) {
    pid_t pid = fork();
    if (pid < 0) break;
    if (pid == 0) {
      for (;;) pause();
    }
  }
  printf("%d %s\n", made, strerrorname_np(errno));
  return 0;
}

static int bytes(void) {
  static char part[1 << 16];
  long long written = 0;
  int fd = open("/tmp/large", O_CREAT | O_WRONLY, 0600);
  for (ssize_t count; fd >= 0 && written < 1LL << 32 && (count = write(fd, part, sizeof part)) > 0;) written += count;
  printf("%lld %s\n", written, strerrorname_np(errno));
  return 0;
}

static int files(void) {
  int made = 0;
  for (; made < 100000; made++) {
    char path[64];
    snprintf(path, sizeof path, "/tmp/many-%d", made);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    if (fd < 0) break;
    close(fd);
  }
  printf("%d %s\n", made, strerrorname_np(errno));
  return 0;
}

static int processor(void) {
  volatile unsigned turns = 0;
  fork();
  for (;;) turns++;
}

static int descriptors(void) {
  struct rlimit open, core;
  getrlimit(RLIMIT_NOFILE, &open);
  getrlimit(RLIMIT_CORE, &core);
  printf("%llu %llu %llu %llu\n", (unsigned long long)open.rlim_cur, (unsigned long long)open.rlim_max,
         (unsigned long long)core.rlim_cur, (unsigned long long)core.rlim_max);
  return 0;
}

int main(int count, char **arguments) {
  static const struct {
    const char *name;
    int (*take)(void);
  } ways[] = {{"memory", memory}, {"forks", forks},         {"bytes", bytes},
              {"files", files},   {"processor", processor}, {"descriptors", descriptors}};
  for (size_t i = 0; count == 2 && i < sizeof ways / sizeof ways[0]; i++) {
    if (strcmp(arguments[1], ways[i].name) == 0) return ways[i].take();
  }
  return 2;
}
