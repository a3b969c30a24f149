/* Sends OCSP requests over HTTP from several clients at once, for `kazashi bench pki`.
 *
 *     ocsp_load PORT PATH KEY REQUESTS CLIENTS SECONDS
 *
 * REQUESTS is a file with the length of each request (four bytes, most significant first), followed by the requests.
 * Every client sends one, waits for the response, and sends the next. It keeps its connection if the server does. At the
 * end three numbers are printed: responses per second, the 99th percentile of the response time in milliseconds, and the
 * number of responses that were cut off and requested again.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST_ANSWERS = 1 << 20, ROOM = 16384 };

static int port;
static const char *path, *key;
static unsigned char *requests;
static size_t length, count;
static double until;
static atomic_size_t next_request, answers, broken;
static float *taken;

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}

static void fail(const char *message) {
    fprintf(stderr, "ocsp_load: %s\n", message);
    exit(1);
}

static int connected(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval patience = {.tv_sec = 10};
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) fail("cannot connect");
    return fd;
}

/* Read one response; return 1 if the connection can be reused, 0 if not, and -1 if the response was cut off. */
static int read_answer(int fd) {
    char answer[ROOM + 1];
    size_t received = 0, whole = 0;
    int keep = 1;
    while (whole == 0 || received < whole) {
        ssize_t got = read(fd, answer + received, ROOM - received);
        if (got <= 0) return -1;
        received += got;
        answer[received] = 0;
        char *end = whole == 0 ? strstr(answer, "\r\n\r\n") : NULL;
        if (end == NULL) continue;
        char *size = strcasestr(answer, "content-length:");
        if (strncmp(answer + 8, " 200", 4) != 0 || size == NULL || size > end) fail("the server's response is not 200, or has no Content-Length");
        keep = strncmp(answer, "HTTP/1.1", 8) == 0;
        whole = end + 4 - answer + strtoul(size + 15, NULL, 10);
        if (whole > ROOM) fail("the server's response is too long");
    }
    return keep;
}

static void *client(void *unused) {
    int fd = -1;
    (void)unused;
    while (now() < until) {
        unsigned char message[ROOM];
        const unsigned char *request = requests + atomic_fetch_add(&next_request, 1) % count * length;
        int head = snprintf((char *)message, ROOM,
                            "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/ocsp-request\r\n"
                            "Authorization: Bearer %s\r\nContent-Length: %zu\r\n\r\n", path, key, length);
        memcpy(message + head, request, length);
        double begun = now();
        if (fd < 0) fd = connected();
        if (write(fd, message, head + length) != (ssize_t)(head + length)) fail("cannot send a request");
        int went = read_answer(fd);
        if (went <= 0) {
            close(fd);
            fd = -1;
        }
        if (went < 0) {
            atomic_fetch_add(&broken, 1);
            continue;
        }
        size_t place = atomic_fetch_add(&answers, 1);
        if (place < MOST_ANSWERS) taken[place] = (now() - begun) * 1000;
    }
    if (fd >= 0) close(fd);
    return NULL;
}

static int by_size(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc != 7) fail("usage: ocsp_load PORT PATH KEY REQUESTS CLIENTS SECONDS");
    port = atoi(argv[1]), path = argv[2], key = argv[3];
    FILE *file = fopen(argv[4], "rb");
    unsigned char size[4];
    if (file == NULL || fread(size, 1, 4, file) != 4) fail("cannot read the file with the requests");
    length = (size_t)size[0] << 24 | size[1] << 16 | size[2] << 8 | size[3];
    fseek(file, 0, SEEK_END);
    count = (ftell(file) - 4) / length;
    fseek(file, 4, SEEK_SET);
    requests = malloc(count * length);
    taken = malloc(MOST_ANSWERS * sizeof *taken);
    if (count == 0 || length > ROOM / 2 || fread(requests, length, count, file) != count) fail("the file has no requests, or they are too long");
    int clients = atoi(argv[5]);
    pthread_t threads[clients];
    double begun = now();
    until = begun + atof(argv[6]);
    for (int i = 0; i < clients; i++) pthread_create(&threads[i], NULL, client, NULL);
    for (int i = 0; i < clients; i++) pthread_join(threads[i], NULL);
    double seconds = now() - begun;
    size_t kept = answers < MOST_ANSWERS ? answers : MOST_ANSWERS;
    if (kept == 0) fail("the server sent no responses");
    qsort(taken, kept, sizeof *taken, by_size);
    printf("%.1f %.3f %zu\n", answers / seconds, taken[kept * 99 / 100], (size_t)broken);
    return 0;
}
