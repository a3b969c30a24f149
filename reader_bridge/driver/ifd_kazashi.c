/*
 * An IFD handler for pcscd whose readers are unix sockets (PCSC/ifdhandler.h, version 3).
 *
 * A reader is a directory, and each of its slots a socket in it, on which the host of the slot listens: a program that
 * decides about presence, ATR, responses, controls, attributes and protocols. In reader.conf, DEVICENAME is
 * "DIRECTORY:SLOTS". docs/driver.md describes the protocol. One loaded driver serves all readers, and several slots at
 * the same time.
 */

#define _GNU_SOURCE /* struct ucred */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <PCSC/debuglog.h>
#include <PCSC/ifdhandler.h>

#pragma weak log_msg /* absent when a test loads the driver without pcscd */

enum { VERSION = 1, READERS = 256, SLOTS = 16 };

/* Messages are a length (4 bytes, big-endian) of what follows, a kind, and a body. */
enum { HEAD = 5, LONGEST = 0x11000 };
enum { HELLO, POWER_UP, POWER_DOWN, RESET, TRANSMIT, CONTROL, GET_ATTRIBUTE, SET_ATTRIBUTE, PROTOCOL, SETTLED };
enum { REPLY = 0x80, PRESENCE, MORE_TIME };
enum { DONE, CARD_ABSENT, CARD_MUTE, FAILED, UNSUPPORTED, PROTOCOL_REFUSED };

/* A host that sends nothing for this long while the driver waits for it is given up. */
enum { REPLY_MS = 10000, GREETING_MS = 500, HALF_MESSAGE_MS = 1000 };

/* The pauses between attempts to reach a host. Changes in the directory end a pause. */
enum { FIRST_PAUSE_MS = 10, LONGEST_PAUSE_MS = 1000 };

struct slot {
	pthread_mutex_t lock; /* held for an exchange with the host, and to look at what follows */
	pthread_t poller;     /* pcscd's thread that waits for events of this slot */
	bool polled;          /* whether `poller` is known */
	char directory[sizeof(((struct sockaddr_un *)0)->sun_path)];
	unsigned number, slots;
	int events, wake, watch, host; /* epoll, eventfd, inotify, and the connection or -1 */
	long pause;                    /* ms until the next attempt to reach the host */
	bool woken;                    /* pcscd wants its thread back */
	bool present; /* what the host said last */
	bool missed;  /* the card was removed, and pcscd does not know it yet, even if a card is present again */
	bool noticed; /* what pcscd's thread was told last */
	bool settled; /* what the host was told that pcscd's clients can see */
	char complaint[128];
	long half_since;
	size_t filled;
	uint8_t buffer[HEAD + LONGEST];
};

static struct slot *table[READERS][SLOTS];
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;

static struct slot **place(DWORD lun)
{
	DWORD reader = lun >> 16, number = lun & 0xFFFF;
	return reader < READERS && number < SLOTS ? &table[reader][number] : NULL;
}

static struct slot *slot_of(DWORD lun)
{
	pthread_mutex_lock(&table_lock);
	struct slot **found = place(lun);
	struct slot *slot = found ? *found : NULL;
	pthread_mutex_unlock(&table_lock);
	return slot;
}

static long now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000L + now.tv_nsec / 1000000L;
}

/* Log a fault of the slot, once until the slot has worked again. */
static void complain(struct slot *slot, const char *format, ...)
{
	char text[sizeof slot->complaint];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	if (strcmp(text, slot->complaint) != 0 && log_msg)
		log_msg(PCSC_LOG_ERROR, "kazashi reader %s slot %u: %s", slot->directory, slot->number, text);
	strcpy(slot->complaint, text);
}

static void put32(uint8_t *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void listen_to_host(struct slot *slot, bool listen)
{
	struct epoll_event event = {.events = listen ? EPOLLIN : 0, .data.fd = slot->host};
	epoll_ctl(slot->events, EPOLL_CTL_MOD, slot->host, &event);
}

static void wake_up(struct slot *slot)
{
	uint64_t one = 1;
	(void)!write(slot->wake, &one, sizeof one);
}

static void set_presence(struct slot *slot, bool present)
{
	slot->missed |= slot->present && !present;
	slot->present = present;
}

static bool changed(const struct slot *slot)
{
	return slot->missed ? slot->noticed : slot->present != slot->noticed;
}

/* End the connection. `fault` is NULL if the host ended it. */
static void detach(struct slot *slot, const char *fault)
{
	if (slot->host < 0)
		return;
	if (fault)
		complain(slot, "%s", fault);
	close(slot->host); /* which also takes it out of `events` */
	slot->host = -1;
	slot->filled = 0;
	set_presence(slot, false);
	wake_up(slot);
}

/* Send one message, whose body has two parts. */
static bool send_message(struct slot *slot, uint8_t kind, const void *first, size_t first_length, const void *second,
                         size_t second_length)
{
	uint8_t head[HEAD];
	put32(head, (uint32_t)(1 + first_length + second_length));
	head[4] = kind;
	struct iovec parts[] = {
		{head, sizeof head}, {(void *)(uintptr_t)first, first_length}, {(void *)(uintptr_t)second, second_length}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 3};
	size_t left = sizeof head + first_length + second_length;
	long deadline = now_ms() + REPLY_MS;
	while (left) {
		ssize_t sent = sendmsg(slot->host, &message, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 || now_ms() >= deadline)
			return false;
		left -= (size_t)sent;
		for (size_t gone = (size_t)sent; left && gone;) {
			size_t step = gone < message.msg_iov->iov_len ? gone : message.msg_iov->iov_len;
			message.msg_iov->iov_base = (uint8_t *)message.msg_iov->iov_base + step;
			message.msg_iov->iov_len -= step;
			gone -= step;
			if (!message.msg_iov->iov_len) {
				message.msg_iov++;
				message.msg_iovlen--;
			}
		}
	}
	return true;
}

/* Return the length of the first message received, 0 if it is not complete, or -1 if it cannot be a message. */
static long complete(const struct slot *slot)
{
	if (slot->filled < HEAD)
		return 0;
	uint32_t length = get32(slot->buffer);
	if (length < 1 || length > 1 + LONGEST - HEAD)
		return -1;
	return slot->filled >= 4 + length ? (long)(4 + length) : 0;
}

static void consume(struct slot *slot, size_t length)
{
	slot->filled -= length;
	memmove(slot->buffer, slot->buffer + length, slot->filled);
}

/* Receive until the first message is complete, and return its length. Return 0 after `deadline`, and after a time-out of
 * the socket, -1 for a broken connection. With `deadline` 0 only what has arrived is read. */
static long receive(struct slot *slot, long deadline)
{
	for (;;) {
		long length = complete(slot);
		if (length)
			return length;
		ssize_t count = recv(slot->host, slot->buffer + slot->filled, sizeof slot->buffer - slot->filled,
		                     deadline ? 0 : MSG_DONTWAIT);
		if (count == 0)
			return -1;
		if (count < 0 && errno != EINTR)
			return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
		if (count > 0) {
			slot->filled += (size_t)count;
			slot->half_since = now_ms();
		}
		if (deadline && !complete(slot) && now_ms() >= deadline)
			return 0;
	}
}

/* Take a message that needs no request. Return false if it is none. */
static bool take_event(struct slot *slot, size_t length)
{
	const uint8_t *message = slot->buffer + 4;
	if (message[0] == PRESENCE && length == HEAD + 1 && message[1] <= 1)
		set_presence(slot, message[1]);
	else if (message[0] != MORE_TIME || length != HEAD)
		return false;
	consume(slot, length);
	return true;
}

/* Take everything that has arrived while no request was open. */
static void take_events(struct slot *slot)
{
	while (slot->host >= 0) {
		long length = receive(slot, 0);
		if (length == 0) {
			if (slot->filled && now_ms() - slot->half_since >= HALF_MESSAGE_MS)
				detach(slot, "the host sent half a message");
			return;
		}
		if (length < 0)
			detach(slot, complete(slot) < 0 ? "the host sent nonsense" : NULL);
		else if (!take_event(slot, (size_t)length))
			detach(slot, "the host sent a message out of turn");
	}
}

/* Whether the socket belongs to one who may host cards here: the owner of the directory, in which nobody else can put
 * a socket, root, or pcscd's own user. */
static bool trusted(struct slot *slot, int host)
{
	struct stat directory;
	struct ucred peer;
	socklen_t size = sizeof peer;
	if (stat(slot->directory, &directory) != 0 || getsockopt(host, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
		return false;
	if (directory.st_mode & (S_IWGRP | S_IWOTH))
		complain(slot, "others than its owner can write in the directory");
	else if (peer.uid != directory.st_uid && peer.uid != 0 && peer.uid != geteuid())
		complain(slot, "the host runs as user %u, to whom the directory does not belong", (unsigned)peer.uid);
	else
		return true;
	return false;
}

/* Exchange greetings on a new connection. */
static bool greeted(struct slot *slot)
{
	uint8_t greeting[] = {VERSION, (uint8_t)slot->number};
	slot->filled = 0;
	long length = -1;
	if (send_message(slot, HELLO, greeting, sizeof greeting, NULL, 0))
		length = receive(slot, now_ms() + GREETING_MS);
	if (length != HEAD + 2 || slot->buffer[4] != HELLO || slot->buffer[5] != VERSION || slot->buffer[6] > 1) {
		bool closed = length < 0 && complete(slot) == 0;
		detach(slot, closed ? NULL : "the socket is not that of a host of cards");
		return false;
	}
	set_presence(slot, slot->buffer[6]);
	consume(slot, (size_t)length);
	return true;
}

static void limit_waiting(int host, long ms)
{
	struct timeval timeout = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
	setsockopt(host, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
	setsockopt(host, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
}

/* Try to reach the host of a slot. */
static void attach(struct slot *slot)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int length = snprintf(address.sun_path, sizeof address.sun_path, "%s/%u", slot->directory, slot->number);
	int host = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	limit_waiting(host, GREETING_MS); /* connect waits while the host's queue is full */
	if (host < 0 || length >= (int)sizeof address.sun_path ||
	    connect(host, (struct sockaddr *)&address, sizeof address) != 0 || !trusted(slot, host)) {
		if (host >= 0)
			close(host);
		return;
	}
	struct epoll_event event = {.events = EPOLLIN, .data.fd = host};
	slot->host = host;
	epoll_ctl(slot->events, EPOLL_CTL_ADD, host, &event);
	if (!greeted(slot))
		return;
	limit_waiting(host, REPLY_MS);
	slot->complaint[0] = '\0';
	slot->settled = false;
	slot->pause = FIRST_PAUSE_MS;
}

/* Send a request and wait for its reply. The reply stays in the buffer, and has *received bytes. */
static RESPONSECODE answered(struct slot *slot, uint8_t kind, const void *first, size_t first_length,
                             const void *second, size_t second_length, size_t *received)
{
	static const RESPONSECODE codes[] = {
		[DONE] = IFD_SUCCESS,        [CARD_ABSENT] = IFD_ICC_NOT_PRESENT, [CARD_MUTE] = IFD_ERROR_POWER_ACTION,
		[FAILED] = IFD_COMMUNICATION_ERROR, [UNSUPPORTED] = IFD_ERROR_NOT_SUPPORTED,
		[PROTOCOL_REFUSED] = IFD_PROTOCOL_NOT_SUPPORTED};
	take_events(slot); /* what has arrived since is older than the reply */
	if (slot->host < 0)
		return IFD_COMMUNICATION_ERROR;
	if (!send_message(slot, kind, first, first_length, second, second_length)) {
		detach(slot, "the host does not read");
		return IFD_COMMUNICATION_ERROR;
	}
	for (long deadline = now_ms() + REPLY_MS;;) {
		long length = receive(slot, deadline);
		if (length <= 0) {
			const char *fault = complete(slot) < 0 ? "the host sent nonsense" : length < 0 ? NULL : "the host is silent";
			detach(slot, fault);
			return length < 0 ? IFD_COMMUNICATION_ERROR : IFD_RESPONSE_TIMEOUT;
		}
		if (slot->buffer[4] == MORE_TIME)
			deadline = now_ms() + REPLY_MS;
		if (take_event(slot, (size_t)length))
			continue;
		if (slot->buffer[4] != REPLY || length < HEAD + 1 || slot->buffer[5] > PROTOCOL_REFUSED) {
			detach(slot, "the host sent something that is no reply");
			return IFD_COMMUNICATION_ERROR;
		}
		*received = (size_t)length;
		return codes[slot->buffer[5]];
	}
}

/* Exchange a request with the host, and copy the reply's body. *size is the room for it, and then its length. */
static RESPONSECODE exchange(DWORD lun, uint8_t kind, const void *first, size_t first_length, const void *second,
                             size_t second_length, UCHAR *body, DWORD *size)
{
	struct slot *slot = slot_of(lun);
	DWORD room = size ? *size : 0;
	size_t received = 0;
	if (size)
		*size = 0;
	if (!slot)
		return IFD_NO_SUCH_DEVICE;
	if (second_length > LONGEST - HEAD - 16)
		return IFD_COMMUNICATION_ERROR;
	pthread_mutex_lock(&slot->lock);
	RESPONSECODE code = IFD_COMMUNICATION_ERROR;
	bool with_card = kind == POWER_UP || kind == RESET || kind == TRANSMIT || kind == PROTOCOL;
	if (with_card && (slot->missed || !slot->present)) {
		code = IFD_ICC_NOT_PRESENT;
	} else if (slot->host >= 0) {
		listen_to_host(slot, false);
		code = answered(slot, kind, first, first_length, second, second_length, &received);
		if (code == IFD_SUCCESS && size) {
			size_t length = received - HEAD - 1;
			if (length > room)
				code = IFD_ERROR_INSUFFICIENT_BUFFER;
			else if (body)
				memcpy(body, slot->buffer + HEAD + 1, length);
			*size = length > room ? 0 : (DWORD)length;
		}
		consume(slot, received);
		if (slot->host >= 0)
			listen_to_host(slot, true);
		if (changed(slot))
			wake_up(slot);
	}
	pthread_mutex_unlock(&slot->lock);
	return code;
}

/* Wait until pcscd should look at the slot again, at most `timeout` ms. pcscd calls it in a thread of its own, each
 * time after everything that the last call reported is visible to its clients. */
static RESPONSECODE wait_for_event(DWORD lun, int timeout)
{
	struct slot *slot = slot_of(lun);
	if (!slot)
		return IFD_NO_SUCH_DEVICE;
	long end = now_ms() + timeout;
	pthread_mutex_lock(&slot->lock);
	slot->poller = pthread_self();
	slot->polled = true;
	if (slot->missed && !slot->noticed)
		slot->missed = false;
	if (slot->host >= 0 && slot->settled != slot->noticed) {
		uint8_t visible = slot->noticed;
		slot->settled = slot->noticed;
		if (!send_message(slot, SETTLED, &visible, 1, NULL, 0))
			detach(slot, "the host does not read");
	}
	while (!slot->woken) {
		if (slot->host >= 0)
			take_events(slot);
		if (changed(slot) || now_ms() >= end)
			break;
		long pause = end - now_ms();
		if (slot->host < 0) {
			attach(slot);
			if (slot->host >= 0)
				continue;
			pause = pause < slot->pause ? pause : slot->pause;
			slot->pause = slot->pause * 2 < LONGEST_PAUSE_MS ? slot->pause * 2 : LONGEST_PAUSE_MS;
		} else if (slot->filled && pause > HALF_MESSAGE_MS) {
			pause = HALF_MESSAGE_MS;
		}
		pthread_mutex_unlock(&slot->lock);
		struct epoll_event event;
		int count = epoll_wait(slot->events, &event, 1, (int)pause);
		pthread_mutex_lock(&slot->lock);
		if (count == 1 && event.data.fd != slot->host) {
			uint8_t drained[4096];
			(void)!read(event.data.fd, drained, sizeof drained);
			if (event.data.fd == slot->watch)
				slot->pause = FIRST_PAUSE_MS;
		}
	}
	slot->woken = false;
	pthread_mutex_unlock(&slot->lock);
	return IFD_SUCCESS;
}

/* pcscd calls this at its end, and when the last client has disconnected, to power the card off in time. */
static RESPONSECODE stop_waiting(DWORD lun)
{
	struct slot *slot = slot_of(lun);
	if (!slot)
		return IFD_NO_SUCH_DEVICE;
	pthread_mutex_lock(&slot->lock);
	slot->woken = true;
	wake_up(slot);
	pthread_mutex_unlock(&slot->lock);
	return IFD_SUCCESS;
}

static void release(struct slot *slot)
{
	int open[] = {slot->host, slot->watch, slot->wake, slot->events};
	for (size_t i = 0; i < sizeof open / sizeof *open; i++)
		if (open[i] >= 0)
			close(open[i]);
	pthread_mutex_destroy(&slot->lock);
	free(slot);
}

RESPONSECODE IFDHCreateChannelByName(DWORD Lun, LPSTR DeviceName)
{
	char *colon = strrchr(DeviceName, ':'), *end = NULL;
	long slots = colon ? strtol(colon + 1, &end, 10) : 0;
	struct slot **empty = place(Lun);
	struct slot *slot = calloc(1, sizeof *slot);
	if (!slot)
		return IFD_COMMUNICATION_ERROR;
	slot->host = slot->watch = slot->wake = slot->events = -1;
	pthread_mutex_init(&slot->lock, NULL);
	/* Room for "/", the number of the slot, and the final zero. */
	if (!colon || end == colon + 1 || *end || slots < 1 || slots > SLOTS || !empty || *empty ||
	    (size_t)(colon - DeviceName) + 4 > sizeof slot->directory) {
		release(slot);
		if (log_msg)
			log_msg(PCSC_LOG_ERROR, "kazashi: DEVICENAME %s is not DIRECTORY:SLOTS", DeviceName);
		return IFD_NO_SUCH_DEVICE;
	}
	memcpy(slot->directory, DeviceName, (size_t)(colon - DeviceName));
	slot->number = Lun & 0xFFFF;
	slot->slots = (unsigned)slots;
	slot->pause = FIRST_PAUSE_MS;
	slot->events = epoll_create1(EPOLL_CLOEXEC);
	slot->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	slot->watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (slot->events < 0 || slot->wake < 0 || slot->watch < 0) {
		release(slot);
		return IFD_COMMUNICATION_ERROR;
	}
	inotify_add_watch(slot->watch, slot->directory, IN_CREATE | IN_MOVED_TO | IN_ATTRIB);
	int sources[] = {slot->wake, slot->watch};
	for (int i = 0; i < 2; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.fd = sources[i]};
		epoll_ctl(slot->events, EPOLL_CTL_ADD, sources[i], &event);
	}
	attach(slot); /* so that the first client finds a card that lies in the reader */
	pthread_mutex_lock(&table_lock);
	*empty = slot;
	pthread_mutex_unlock(&table_lock);
	return IFD_SUCCESS;
}

RESPONSECODE IFDHCreateChannel(DWORD Lun, DWORD Channel)
{
	(void)Lun, (void)Channel; /* a reader without DEVICENAME has no directory */
	return IFD_NO_SUCH_DEVICE;
}

RESPONSECODE IFDHCloseChannel(DWORD Lun)
{
	pthread_mutex_lock(&table_lock);
	struct slot **found = place(Lun);
	struct slot *slot = found ? *found : NULL;
	if (found)
		*found = NULL;
	pthread_mutex_unlock(&table_lock);
	if (!slot)
		return IFD_NO_SUCH_DEVICE;
	pthread_mutex_lock(&slot->lock); /* an exchange that has begun ends first */
	pthread_mutex_unlock(&slot->lock);
	release(slot);
	return IFD_SUCCESS;
}

static RESPONSECODE value(const void *bytes, size_t size, PDWORD Length, PUCHAR Value)
{
	if (*Length < size)
		return IFD_ERROR_INSUFFICIENT_BUFFER;
	*Length = (DWORD)size;
	if (Value)
		memcpy(Value, bytes, size);
	return IFD_SUCCESS;
}

RESPONSECODE IFDHGetCapabilities(DWORD Lun, DWORD Tag, PDWORD Length, PUCHAR Value)
{
	static RESPONSECODE (*const waiting)(DWORD, int) = wait_for_event;
	static RESPONSECODE (*const stopping)(DWORD) = stop_waiting;
	struct slot *slot = slot_of(Lun);
	uint8_t one = 1, readers = READERS - 1, slots = slot ? (uint8_t)slot->slots : 1, tag[4];
	switch (Tag) {
	case TAG_IFD_SIMULTANEOUS_ACCESS:
		return value(&readers, 1, Length, Value);
	case TAG_IFD_THREAD_SAFE:
	case TAG_IFD_SLOT_THREAD_SAFE:
		return value(&one, 1, Length, Value);
	case TAG_IFD_SLOTS_NUMBER:
		return value(&slots, 1, Length, Value);
	case TAG_IFD_POLLING_THREAD_WITH_TIMEOUT:
		return value(&waiting, sizeof waiting, Length, Value);
	case TAG_IFD_STOP_POLLING_THREAD:
		return value(&stopping, sizeof stopping, Length, Value);
	case TAG_IFD_POLLING_THREAD_KILLABLE:
		return IFD_ERROR_TAG;
	}
	put32(tag, (uint32_t)Tag);
	DWORD size = *Length; /* pcscd answers some tags itself that we refuse, and needs the room that it gave us */
	RESPONSECODE code = exchange(Lun, GET_ATTRIBUTE, tag, sizeof tag, NULL, 0, Value, &size);
	if (code != IFD_SUCCESS)
		return code == IFD_ERROR_INSUFFICIENT_BUFFER ? code : IFD_ERROR_TAG;
	*Length = size;
	return IFD_SUCCESS;
}

RESPONSECODE IFDHSetCapabilities(DWORD Lun, DWORD Tag, DWORD Length, PUCHAR Value)
{
	uint8_t tag[4];
	put32(tag, (uint32_t)Tag);
	RESPONSECODE code = exchange(Lun, SET_ATTRIBUTE, tag, sizeof tag, Value, Length, NULL, NULL);
	return code == IFD_SUCCESS ? code : IFD_ERROR_TAG;
}

RESPONSECODE IFDHSetProtocolParameters(DWORD Lun, DWORD Protocol, UCHAR Flags, UCHAR PTS1, UCHAR PTS2, UCHAR PTS3)
{
	uint8_t wanted[] = {(uint8_t)Protocol, Flags, PTS1, PTS2, PTS3};
	return exchange(Lun, PROTOCOL, wanted, sizeof wanted, NULL, 0, NULL, NULL);
}

RESPONSECODE IFDHPowerICC(DWORD Lun, DWORD Action, PUCHAR Atr, PDWORD AtrLength)
{
	static const uint8_t kinds[] = {POWER_UP, POWER_DOWN, RESET}; /* in the order of IFD_POWER_UP and the next two */
	*AtrLength = 0;
	if (Action < IFD_POWER_UP || Action > IFD_RESET)
		return IFD_NOT_SUPPORTED;
	DWORD length = MAX_ATR_SIZE;
	RESPONSECODE code =
		exchange(Lun, kinds[Action - IFD_POWER_UP], NULL, 0, NULL, 0, Atr, Action == IFD_POWER_DOWN ? NULL : &length);
	if (code == IFD_SUCCESS && Action != IFD_POWER_DOWN)
		*AtrLength = length;
	return code == IFD_SUCCESS || code == IFD_ICC_NOT_PRESENT ? code : IFD_ERROR_POWER_ACTION;
}

RESPONSECODE IFDHTransmitToICC(DWORD Lun, SCARD_IO_HEADER SendPci, PUCHAR TxBuffer, DWORD TxLength, PUCHAR RxBuffer,
                               PDWORD RxLength, PSCARD_IO_HEADER RecvPci)
{
	uint8_t protocol = (uint8_t)SendPci.Protocol;
	if (RecvPci)
		RecvPci->Protocol = SendPci.Protocol;
	return exchange(Lun, TRANSMIT, &protocol, 1, TxBuffer, TxLength, RxBuffer, RxLength);
}

RESPONSECODE IFDHControl(DWORD Lun, DWORD dwControlCode, PUCHAR TxBuffer, DWORD TxLength, PUCHAR RxBuffer,
                         DWORD RxLength, LPDWORD pdwBytesReturned)
{
	uint8_t control[4];
	DWORD length = RxLength;
	put32(control, (uint32_t)dwControlCode);
	RESPONSECODE code =
		exchange(Lun, CONTROL, control, sizeof control, TxBuffer, TxLength, RxBuffer, RxBuffer ? &length : NULL);
	*pdwBytesReturned = RxBuffer && code == IFD_SUCCESS ? length : 0;
	return code;
}

RESPONSECODE IFDHICCPresence(DWORD Lun)
{
	struct slot *slot = slot_of(Lun);
	if (!slot)
		return IFD_NO_SUCH_DEVICE;
	pthread_mutex_lock(&slot->lock);
	bool present = slot->present && !slot->missed;
	if (!slot->polled || pthread_equal(slot->poller, pthread_self()))
		slot->noticed = present;
	pthread_mutex_unlock(&slot->lock);
	return present ? IFD_ICC_PRESENT : IFD_ICC_NOT_PRESENT;
}
