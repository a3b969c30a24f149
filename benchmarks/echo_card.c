/* The floor for benchmarks through pcscd: a card that responds to every command with the same six bytes.
 *
 * usage: echo_card SOCKET
 *
 * It hosts a slot of our driver (docs/driver.md) with the least possible work between command and response.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int sock;

static void receive(unsigned char *into, size_t wanted)
{
    while (wanted > 0) {
        ssize_t got = recv(sock, into, wanted, 0);
        if (got <= 0)
            exit(0); /* the driver has disconnected */
        into += got;
        wanted -= (size_t)got;
    }
}

int main(int argc, char **argv)
{
    static const unsigned char hello[] = {0, 0, 0, 3, 0x00, 1, 1};
    static const unsigned char atr[] = {0, 0, 0, 11, 0x80, 0, 0x3B, 0xE0, 0, 0xFF, 0x81, 0x31, 0xFE, 0x45, 0x14};
    static const unsigned char answer[] = {0, 0, 0, 8, 0x80, 0, 0x30, 0x82, 0, 0, 0x90, 0};
    static const unsigned char done[] = {0, 0, 0, 2, 0x80, 0}, unsupported[] = {0, 0, 0, 2, 0x80, 4};
    unsigned char head[5], body[70000];
    struct sockaddr_un place = {.sun_family = AF_UNIX};

    if (argc != 2 || strlen(argv[1]) >= sizeof place.sun_path)
        return 2;
    strcpy(place.sun_path, argv[1]);
    unlink(argv[1]);
    int listening = socket(AF_UNIX, SOCK_STREAM, 0);
    if (bind(listening, (struct sockaddr *)&place, sizeof place) != 0 || listen(listening, 1) != 0)
        return 1;
    sock = accept(listening, NULL, NULL);
    for (;;) {
        receive(head, 5);
        receive(body, ((size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3]) - 1);
        switch (head[4]) {
        case 0x00: send(sock, hello, sizeof hello, 0); break;
        case 0x01: case 0x03: send(sock, atr, sizeof atr, 0); break;
        case 0x04: send(sock, answer, sizeof answer, 0); break;
        case 0x02: case 0x08: send(sock, done, sizeof done, 0); break;
        case 0x09: break;
        default: send(sock, unsupported, sizeof unsupported, 0);
        }
    }
}
