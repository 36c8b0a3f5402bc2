/* The compiled loop that `antiphon bench relay` compares with: what a relay does for a packet of a known flow, and
 * nothing else. Batches by recvmmsg and sendmmsg, an open-addressed table from client to owner, the tunnel header in
 * front. It learns flows from tunnel packets and trusts every sender: this is no relay.
 *
 * forward PUBLIC_PORT TUNNEL_PORT      both on 127.0.0.1; prints "ready", runs until it is killed
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 64, SLOT = 2048, HEADROOM = 64, HEADER = 8, TABLE = 1 << 19, ROUNDS = 4 };

static uint64_t keys[TABLE], owners[TABLE];
static unsigned char slots[BATCH][SLOT];
static struct sockaddr_in from[BATCH], to[BATCH];
static struct iovec room[BATCH], pieces[BATCH];
static struct mmsghdr in[BATCH], out[BATCH];

static uint64_t *owner_of(uint64_t key, int make)
{
    uint64_t at = (key * 0x9E3779B97F4A7C15u) >> 45;
    while (keys[at] && keys[at] != key)
        at = (at + 1) % TABLE;
    if (!keys[at]) {
        if (!make)
            return NULL;
        keys[at] = key;
    }
    return &owners[at];
}

static uint64_t word(const void *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static void send_all(int fd, int count)
{
    int at = 0;
    while (at < count) {
        int sent = sendmmsg(fd, out + at, count - at, MSG_DONTWAIT);
        at += sent > 0 ? sent : 1;
    }
}

static int move(int from_fd, int to_fd, int up)
{
    int n = recvmmsg(from_fd, in, BATCH, MSG_DONTWAIT, NULL), count = 0;
    for (int i = 0; i < n; i++) {
        unsigned char *datagram = slots[i] + HEADROOM;
        unsigned length = in[i].msg_len;
        uint64_t source = word(&from[i]);
        if (up) {
            uint64_t *owner = owner_of(source, 0);
            if (!owner)
                continue;
            memcpy(datagram - HEADER, &source, HEADER);
            memcpy(&to[count], owner, sizeof *owner);
            pieces[count] = (struct iovec){datagram - HEADER, length + HEADER};
        } else {
            if (length < HEADER)
                continue;
            uint64_t client = word(datagram);
            *owner_of(client, 1) = source;
            if (length == HEADER)
                continue;
            memcpy(&to[count], &client, sizeof client);
            pieces[count] = (struct iovec){datagram + HEADER, length - HEADER};
        }
        count++;
    }
    send_all(to_fd, count);
    return n == BATCH;
}

static int bound(int port)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0), buffer = 4 << 20;
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    if (bind(fd, (struct sockaddr *)&here, sizeof here)) {
        perror("bind");
        exit(1);
    }
    return fd;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    int public = bound(atoi(argv[1])), tunnel = bound(atoi(argv[2]));
    for (int i = 0; i < BATCH; i++) {
        room[i] = (struct iovec){slots[i] + HEADROOM, SLOT - HEADROOM};
        in[i].msg_hdr = (struct msghdr){.msg_name = &from[i], .msg_namelen = sizeof from[i], .msg_iov = &room[i], .msg_iovlen = 1};
        out[i].msg_hdr = (struct msghdr){.msg_name = &to[i], .msg_namelen = sizeof to[i], .msg_iov = &pieces[i], .msg_iovlen = 1};
    }
    puts("ready");
    fflush(stdout);
    struct pollfd ready[2] = {{.fd = public, .events = POLLIN}, {.fd = tunnel, .events = POLLIN}};
    for (;;) {
        poll(ready, 2, -1);
        for (int i = 0; ready[0].revents && i < ROUNDS && move(public, tunnel, 1); i++)
            ;
        for (int i = 0; ready[1].revents && i < ROUNDS && move(tunnel, public, 0); i++)
            ;
    }
}
