/* The media path of one session frame in C: receive, unprotect, decode, encode, protect, send.
 *
 * No header of libopus or libsrtp is needed: the bench makes codecs and SRTP sessions through the very
 * libraries that the transceiver uses and hands over their pointers and the addresses of four functions.
 * Sessions take turns, so that their states are as cold in the cache as in a server. What feeds the
 * chain is not counted: CPU time is read around it only.
 */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

typedef int (*srtp_function)(void *session, void *packet, int *length);
typedef int (*decode_function)(void *decoder, const unsigned char *data, int length, short *pcm, int samples, int fec);
typedef int (*encode_function)(void *encoder, const short *pcm, int samples, unsigned char *data, int size);

static double cpu_us(void) {
    struct timespec at;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &at);
    return at.tv_sec * 1e6 + at.tv_nsec / 1e3;
}

/* Microseconds of CPU per session frame; negative when a step failed. `packets` holds `count` RTP payloads of
 * `lengths` bytes, one after the other. Per session: rx, tx, feed (SRTP), decoder, encoder. */
double chain(srtp_function protect, srtp_function unprotect, decode_function decode, encode_function encode,
             void **rx, void **tx, void **feed, void **decoders, void **encoders, int sessions,
             const unsigned char *packets, const int *lengths, int count, int samples, int frames) {
    unsigned char wire[2048], coded[2048], bare[12] = {0x80, 111};
    const unsigned char *payload[1024];
    short pcm[5760];
    struct sockaddr_in here = {.sin_family = AF_INET}, from;
    socklen_t size = sizeof here;
    double spent = 0;
    int s = socket(AF_INET, SOCK_DGRAM, 0), ok = 1;

    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (s < 0 || count > 1024 || bind(s, (void *)&here, sizeof here) || getsockname(s, (void *)&here, &size)) return -1;
    for (int i = 0, at = 0; i < count; at += lengths[i++]) payload[i] = packets + at;
    for (int frame = 0; ok && frame < frames; frame++) {
        bare[2] = frame >> 8, bare[3] = frame, bare[11] = 1;
        for (int i = 0; ok && i < sessions; i++) {
            int which = (frame + 7 * i) % count, length = 12 + lengths[which];
            memcpy(wire, bare, 12), memcpy(wire + 12, payload[which], lengths[which]);
            ok = !protect(feed[i], wire, &length) && sendto(s, wire, length, 0, (void *)&here, sizeof here) == length;
            double began = cpu_us();
            size = sizeof from;
            length = recvfrom(s, wire, sizeof wire, 0, (void *)&from, &size);
            ok = ok && length > 12 && !unprotect(rx[i], wire, &length);
            ok = ok && decode(decoders[i], wire + 12, length - 12, pcm, samples, 0) == samples;
            length = encode(encoders[i], pcm, samples, coded + 12, 1400);
            ok = ok && length > 0;
            memcpy(coded, bare, 12), length += 12;
            ok = ok && !protect(tx[i], coded, &length) && sendto(s, coded, length, 0, (void *)&here, sizeof here) == length;
            spent += cpu_us() - began;
            recv(s, wire, sizeof wire, 0);
        }
    }
    close(s);
    return ok ? spent / frames / sessions : -1;
}
