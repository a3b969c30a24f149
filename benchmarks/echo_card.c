/* The floor for benchmarks through pcscd: a card that responds to every command with the same six bytes.
 *
 * usage: echo_card PORT
 *
 * It implements vpcd's protocol with the least possible work between command and response.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int sock;

static void receive(unsigned char *into, size_t wanted)
{
    while (wanted > 0) {
        int one = 1;
        setsockopt(sock, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one);
        ssize_t got = recv(sock, into, wanted, 0);
        if (got <= 0)
            exit(0); /* the reader has disconnected */
        into += got;
        wanted -= (size_t)got;
    }
}

int main(int argc, char **argv)
{
    static const unsigned char atr[] = {0, 9, 0x3B, 0xE0, 0, 0xFF, 0x81, 0x31, 0xFE, 0x45, 0x14};
    static const unsigned char answer[] = {0, 6, 0x30, 0x82, 0, 0, 0x90, 0};
    unsigned char head[2], body[65536];
    struct sockaddr_in peer = {.sin_family = AF_INET};
    int one = 1;

    if (argc != 2)
        return 2;
    peer.sin_port = htons((unsigned short)atoi(argv[1]));
    peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sock = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(sock, (struct sockaddr *)&peer, sizeof peer) != 0)
        return 1;
    setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    for (;;) {
        receive(head, 2);
        size_t length = (size_t)head[0] << 8 | head[1];
        receive(body, length);
        if (length != 1)
            send(sock, answer, sizeof answer, 0);
        else if (body[0] == 4)
            send(sock, atr, sizeof atr, 0);
    }
}
