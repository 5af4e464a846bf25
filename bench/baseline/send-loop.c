/* Send loop: the least that a delivery can cost on this machine: one send() of one small payload for each socket, in C.
 *
 *   reader     "r" ──> "r"     then each payload
 *   publisher  "p" ──> "p"     payload, payload, …: each, once whole, goes to all readers
 *
 * What every server's cost for a delivery is divided by. One thread; nothing is kept, chosen, framed or joined. The load
 * has one post in flight, so that no socket's buffer ever fills: a send() that does not take all ends the program with the
 * reason. Its arguments are the port of 127.0.0.1 and the payload's length in bytes. It ends when its input does. */

#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { max_fds = 1 << 20, max_events = 256, most_payload = 65536, input = 0 };
/* What a connection has said it is. */
enum { is_new = 0, is_reader, is_publisher };

static unsigned char said[max_fds];
static int readers[max_fds];
static int reader_count;
static char payload[most_payload];
static size_t payload_bytes;
/* Bytes of the payload at hand that have come. */
static size_t filled;

static void fail(const char *what) {
  fprintf(stderr, "send-loop: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void send_all(int fd, const void *bytes, size_t length) {
  ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent == (ssize_t)length) return;
  if (sent >= 0) errno = EMSGSIZE;
  fail("send did not take all");
}

static void publish(const char *bytes, size_t count) {
  while (count > 0) {
    size_t taken = payload_bytes - filled < count ? payload_bytes - filled : count;
    memcpy(payload + filled, bytes, taken);
    filled += taken;
    bytes += taken;
    count -= taken;
    if (filled < payload_bytes) return;
    for (int i = 0; i < reader_count; i++) send_all(readers[i], payload, payload_bytes);
    filled = 0;
  }
}

static void forget(int fd) {
  for (int i = 0; said[fd] == is_reader && i < reader_count; i++)
    if (readers[i] == fd) readers[i--] = readers[--reader_count];
  said[fd] = is_new;
  close(fd);
}

static void receive(int fd) {
  char bytes[4096];
  ssize_t count = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
  if (count < 0 && errno == EAGAIN) return;
  if (count <= 0) {
    forget(fd);
    return;
  }
  if (said[fd] == is_publisher) publish(bytes, (size_t)count);
  if (said[fd] != is_new) return;
  if (bytes[0] == 'r') readers[reader_count++] = fd;
  said[fd] = bytes[0] == 'r' ? is_reader : is_publisher;
  send_all(fd, bytes, 1);
}

static void watch(int epoll, int fd) {
  struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) fail("epoll_ctl");
}

static void take_connection(int epoll, int listener) {
  int on = 1;
  int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0 && (errno == EAGAIN || errno == ECONNABORTED)) return;
  if (fd < 0) fail("accept");
  if (fd >= max_fds) {
    errno = EMFILE;
    fail("accept");
  }
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  watch(epoll, fd);
}

static void raise_open_files(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) fail("getrlimit");
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

static int listen_on_loopback(uint16_t port) {
  int on = 1;
  struct sockaddr_in address = {
    .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (listener < 0) fail("socket");
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0) fail("bind");
  if (listen(listener, 4096) < 0) fail("listen");
  return listener;
}

int main(int count_of_arguments, char **arguments) {
  struct epoll_event events[max_events];
  unsigned long port = count_of_arguments == 3 ? strtoul(arguments[1], NULL, 10) : 0;
  payload_bytes = count_of_arguments == 3 ? strtoul(arguments[2], NULL, 10) : 0;
  if (port == 0 || port > UINT16_MAX || payload_bytes == 0 || payload_bytes > most_payload) {
    fprintf(stderr, "usage: send-loop PORT PAYLOAD_BYTES (at most %d)\n", most_payload);
    return 2;
  }
  raise_open_files();
  int listener = listen_on_loopback((uint16_t)port);
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) fail("epoll_create1");
  watch(epoll, listener);
  watch(epoll, input);
  for (;;) {
    int count = epoll_wait(epoll, events, max_events, -1);
    if (count < 0 && errno != EINTR) fail("epoll_wait");
    for (int i = 0; i < count; i++) {
      int fd = events[i].data.fd;
      char ignored[64];
      if (fd == listener) take_connection(epoll, listener);
      else if (fd != input) receive(fd);
      else if (read(input, ignored, sizeof ignored) <= 0) return 0;
    }
  }
}
