// A container's whole program: serves files of its working directory on $PORT, and tells of itself below /-/.
// Built by the image tests, statically, for an image of one file.
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

static void answer(int to, const char *status, const char *body, size_t length) {
  char head[256];
  int size = snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n",
                      status, length);
  if (write(to, head, (size_t)size) < 0 || write(to, body, length) < 0) return;
}

/* What a program in a container may want to know or try: /-/who, /-/env, /-/write/PATH, /-/stat/PATH. */
static void tell(int to, const char *what) {
  static char text[65536];
  size_t length = 0;
  text[0] = 0;
  if (strcmp(what, "who") == 0) {
    char directory[4096] = "?";
    if (getcwd(directory, sizeof directory) == NULL) directory[0] = 0;
    length = (size_t)snprintf(text, sizeof text, "%u %u %s\n", getuid(), getgid(), directory);
  } else if (strcmp(what, "env") == 0) {
    for (char **line = environ; *line != NULL; line++)
      length += (size_t)snprintf(text + length, sizeof text - length, "%s\n", *line);
  } else if (strncmp(what, "write", 5) == 0) {
    int file = open(what + 5, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    const char *said = file < 0 ? strerror(errno) : "written";
    if (file >= 0 && write(file, "x", 1) != 1) said = strerror(errno);
    length = (size_t)snprintf(text, sizeof text, "%s\n", said);
    if (file >= 0) close(file);
  } else if (strncmp(what, "stat", 4) == 0) {
    struct stat status;
    if (lstat(what + 4, &status) == 0)
      length = (size_t)snprintf(text, sizeof text, "%o %u %u\n", status.st_mode, status.st_uid, status.st_gid);
    else
      length = (size_t)snprintf(text, sizeof text, "%s\n", strerror(errno));
  }
  answer(to, "200 OK", text, length);
}

static void serve(int to, const char *path) {
  if (strncmp(path, "/-/", 3) == 0) return tell(to, path + 3);
  static char content[65536];
  int file = open(path[1] == 0 ? "index.html" : path + 1, O_RDONLY);
  ssize_t length = file < 0 ? -1 : read(file, content, sizeof content);
  if (file >= 0) close(file);
  if (length < 0) return answer(to, "404 Not Found", "not found\n", 10);
  answer(to, "200 OK", content, (size_t)length);
}

static void end(int signal) {
  char text[] = "asked to end by signal 00\n";
  text[23] = (char)('0' + signal / 10);
  text[24] = (char)('0' + signal % 10);
  if (write(1, text, sizeof text - 1) < 0) _exit(1);
  _exit(0);
}

int main(void) {
  signal(SIGTERM, end);
  signal(SIGQUIT, end);
  signal(SIGPIPE, SIG_IGN);
  const char *port = getenv("PORT");
  int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port ? port : "8080"))};
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 16) != 0) return 1;
  printf("listening\n");
  fflush(stdout);
  for (;;) {
    int to = accept(listener, NULL, NULL);
    if (to < 0) continue;
    // One request after the other on a connection; a body, if there is one, is read with the head.
    char request[8192], path[4096];
    size_t have = 0;
    for (;;) {
      ssize_t count = read(to, request + have, sizeof request - 1 - have);
      if (count <= 0) break;
      have += (size_t)count;
      request[have] = 0;
      if (strstr(request, "\r\n\r\n") == NULL) continue;
      if (sscanf(request, "%*s %4095s", path) == 1) serve(to, path);
      have = 0;
    }
    close(to);
  }
}
