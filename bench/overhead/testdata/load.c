// The loads of the overhead benchmark: load NAME COUNT repeats one operation and prints the
// nanoseconds that one took. Written in C so that the operation, not a language's runtime, is
// what is timed.
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what) { perror(what); exit(1); }

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

static void open_close(long n) { /* 64 files, read-only */
  char dir[] = "/tmp/picket-bench-XXXXXX", name[64][64];
  if (!mkdtemp(dir)) die("mkdtemp");
  for (int i = 0; i < 64; i++) {
    snprintf(name[i], sizeof name[i], "%s/%d", dir, i);
    int fd = open(name[i], O_CREAT | O_WRONLY, 0600);
    if (fd < 0) die(name[i]);
    close(fd);
  }
  double t = now();
  for (long i = 0; i < n; i++) {
    int fd = open(name[i & 63], O_RDONLY);
    if (fd < 0) die("open");
    close(fd);
  }
  printf("%.1f\n", (now() - t) / n);
  for (int i = 0; i < 64; i++) unlink(name[i]);
  rmdir(dir);
}

static void fork_exec(long n) {
  double t = now();
  for (long i = 0; i < n; i++) {
    pid_t p = fork();
    if (p == 0) {
      execl("/bin/true", "true", (char *)0);
      _exit(127);
    }
    int status;
    if (p < 0 || waitpid(p, &status, 0) < 0 || status) die("fork, exec, wait");
  }
  printf("%.1f\n", (now() - t) / n);
}

static void tcp(long n, int fanout) { /* socket, connect, accept, reset */
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(fanout ? INADDR_ANY : INADDR_LOOPBACK)};
  socklen_t len = sizeof a;
  int l = socket(AF_INET, SOCK_STREAM, 0);
  if (l < 0 || bind(l, (void *)&a, sizeof a) || listen(l, 64) || getsockname(l, (void *)&a, &len)) die("listen");
  struct linger reset = {.l_onoff = 1, .l_linger = 0};
  double t = now();
  for (long i = 0; i < n; i++) {
    int c = socket(AF_INET, SOCK_STREAM, 0);
    if (fanout) a.sin_addr.s_addr = htonl(0x7f010001 + i); /* all of 127.0.0.0/8 is here */
    if (c < 0 || connect(c, (void *)&a, sizeof a)) die("connect");
    int s = accept(l, 0, 0);
    if (s < 0) die("accept");
    setsockopt(c, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(c);
    close(s);
  }
  printf("%.1f\n", (now() - t) / n);
}

static void ppid(long n) {
  double t = now();
  for (long i = 0; i < n; i++) syscall(SYS_getppid);
  printf("%.1f\n", (now() - t) / n);
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  long n = atol(argv[2]);
  if (!strcmp(argv[1], "open")) open_close(n);
  else if (!strcmp(argv[1], "exec")) fork_exec(n);
  else if (!strcmp(argv[1], "connect")) tcp(n, 0);
  else if (!strcmp(argv[1], "fanout")) tcp(n, 1);
  else if (!strcmp(argv[1], "getppid")) ppid(n);
  else return 2;
  return 0;
}
