/*
 * Calls the driver as pcscd does, without pcscd. The driver's source is compiled into this program, as a rule with
 * sanitizers.
 *
 * Each line on stdin is a call: a name for it, a verb, the slot's number as pcscd gives it, and two arguments. Each
 * line on stdout has the call's name, its code, how many ms it took, and the bytes that it returned in hexadecimal.
 * A verb after "&" is called in a thread of its own. Lines of the driver's log start with "log". Buffers are exactly as
 * long as the driver is told, so that AddressSanitizer sees a byte too many.
 */

#define _GNU_SOURCE
#include <dirent.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <PCSC/debuglog.h>
#include <PCSC/ifdhandler.h>

#ifdef PEER_UID /* an ordinary user has nobody else's sockets to show to the driver */
#include <sys/socket.h>
int __real_getsockopt(int socket, int level, int option, void *value, socklen_t *size);
int __wrap_getsockopt(int socket, int level, int option, void *value, socklen_t *size)
{
	int result = __real_getsockopt(socket, level, option, value, size);
	if (option == SO_PEERCRED)
		((struct ucred *)value)->uid = PEER_UID;
	return result;
}
#endif

void log_msg(const int priority, const char *format, ...)
{
	char text[1024];
	va_list arguments;
	(void)priority;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	printf("log %s\n", text);
}

static long now_in_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000L + now.tv_nsec / 1000000L;
}

static int open_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	int count = 0;
	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

/* Wait for events as pcscd's thread does, `times` times. Return how often a card was there. */
static long poll_slot(DWORD lun, long times)
{
	RESPONSECODE (*wait)(DWORD, int) = NULL;
	DWORD size = sizeof wait;
	long seen = 0;
	IFDHGetCapabilities(lun, TAG_IFD_POLLING_THREAD_WITH_TIMEOUT, &size, (PUCHAR)&wait);
	for (long i = 0; i < times; i++) {
		seen += IFDHICCPresence(lun) == IFD_ICC_PRESENT;
		if (wait(lun, 60000) != IFD_SUCCESS)
			break;
	}
	return seen;
}

static long stop_slot(DWORD lun)
{
	RESPONSECODE (*stop)(DWORD) = NULL;
	DWORD size = sizeof stop;
	IFDHGetCapabilities(lun, TAG_IFD_STOP_POLLING_THREAD, &size, (PUCHAR)&stop);
	return stop(lun);
}

static void *run(void *argument)
{
	char *line = argument;
	char name[32], verb[32], text[140000] = "";
	unsigned long lun = 0, number = 0;
	sscanf(line, "%31s %31s %lx %lx %139999s", name, verb, &lun, &number, text);
	const char *what = verb + (verb[0] == '&');
	size_t length = strlen(text) / 2, room = 0;
	unsigned char *given = malloc(length ? length : 1), *taken = NULL;
	for (size_t i = 0; i < length; i++)
		sscanf(text + 2 * i, "%2hhx", given + i);
	DWORD size = 0;
	long begun = now_in_ms(), code = -1;
	if (!strcmp(what, "open")) {
		code = IFDHCreateChannelByName(lun, text);
	} else if (!strcmp(what, "close")) {
		code = IFDHCloseChannel(lun);
	} else if (!strcmp(what, "presence")) {
		code = IFDHICCPresence(lun);
	} else if (!strcmp(what, "poll")) {
		code = poll_slot(lun, (long)number);
	} else if (!strcmp(what, "stop")) {
		code = stop_slot(lun);
	} else if (!strcmp(what, "descriptors")) {
		code = open_descriptors();
	} else if (!strcmp(what, "power")) {
		taken = malloc(room = MAX_ATR_SIZE);
		size = room;
		code = IFDHPowerICC(lun, number, taken, &size);
	} else if (!strcmp(what, "transmit")) { /* `number` is the room for the response */
		SCARD_IO_HEADER sent = {1, 0}, received = {0, 0};
		taken = malloc((room = number) ? room : 1);
		size = room;
		code = IFDHTransmitToICC(lun, sent, given, length, taken, &size, &received);
	} else if (!strcmp(what, "control")) {
		taken = malloc(room = 64);
		code = IFDHControl(lun, number, given, length, taken, room, &size);
	} else if (!strcmp(what, "get")) {
		taken = malloc(room = 64);
		size = room;
		code = IFDHGetCapabilities(lun, number, &size, taken);
	} else if (!strcmp(what, "set")) {
		code = IFDHSetCapabilities(lun, number, length, given);
	} else if (!strcmp(what, "protocol")) {
		code = IFDHSetProtocolParameters(lun, number, 0, 0, 0, 0);
	}
	long took = now_in_ms() - begun;
	if (size > room) {
		fprintf(stderr, "%s returned %lu bytes into %zu\n", what, size, room);
		abort();
	}
	flockfile(stdout);
	printf("%s %ld %ld ", name, code, took);
	for (size_t i = 0; taken && i < size; i++)
		printf("%02x", taken[i]);
	printf("\n");
	fflush(stdout);
	funlockfile(stdout);
	free(given);
	free(taken);
	free(line);
	return NULL;
}

int main(void)
{
	char *line = NULL;
	size_t size = 0;
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	while (getline(&line, &size, stdin) > 0) {
		bool apart = strchr(line, '&');
		pthread_t thread;
		char *call = strdup(line);
		if (!apart) {
			run(call);
		} else if (pthread_create(&thread, NULL, run, call) == 0) {
			pthread_detach(thread);
		}
	}
	free(line);
	return 0;
}
