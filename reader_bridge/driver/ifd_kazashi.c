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
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <PCSC/debuglog.h>
#include <PCSC/ifdhandler.h>

#pragma weak log_msg /* absent when a test loads the driver without pcscd */

enum { VERSION = 1, READERS = 256, SLOTS = 16 };

/* Messages are a length (4 bytes, big-endian) of what follows, at most LONGEST, a kind, and a body. */
enum { HEAD = 5, LONGEST = 0x11000 };
enum { HELLO, POWER_UP, POWER_DOWN, RESET, TRANSMIT, CONTROL, GET_ATTRIBUTE, SET_ATTRIBUTE, PROTOCOL, SETTLED };
enum { REPLY = 0x80, PRESENCE, MORE_TIME };
enum { DONE, CARD_ABSENT, CARD_MUTE, FAILED, UNSUPPORTED, PROTOCOL_REFUSED };

/* Limits of time, which are looked at every TICK_MS. MORE_TIME starts REPLY_MS again, up to LONGEST_EXCHANGE_MS: a card
 * may make a long key, but a host must not occupy a thread of pcscd for ever. */
enum { TICK_MS = 500, GREETING_MS = 1000, HALF_MESSAGE_MS = 1000, REPLY_MS = 10000, LONGEST_EXCHANGE_MS = 300000 };

/* The pauses between attempts to reach a host, which changes in the directory end. */
enum { FIRST_PAUSE_MS = 10, LONGEST_PAUSE_MS = 1000 };

/* How many messages without a request are taken at once, so that a host that floods the driver keeps nobody waiting. */
enum { EVENTS_AT_ONCE = 64 };

/* Each fault is logged once, until a connection has lasted for RELAPSE_MS. The end of a host is not a fault. */
enum { RELAPSE_MS = 10000 };
enum fault { NONE, UNREACHABLE, OPEN_DIRECTORY, STRANGER, NO_HOST, SILENT, ENDLESS, UNREAD, HALF, NONSENSE, OUT_OF_TURN };
static const char *const descriptions[] = {
	[UNREACHABLE] = "the socket cannot be reached: pcscd may not enter the directory, or the host accepts nobody",
	[OPEN_DIRECTORY] = "refused: others than its owner can write in the directory",
	[STRANGER] = "refused: the host runs as a user to whom the directory does not belong",
	[NO_HOST] = "the socket is not that of a host of cards",
	[SILENT] = "the host is silent",
	[ENDLESS] = "the host never finishes a request",
	[UNREAD] = "the host does not read",
	[HALF] = "the host sent half a message",
	[NONSENSE] = "the host sent nonsense",
	[OUT_OF_TURN] = "the host sent a message out of turn",
};

struct slot {
	unsigned users;       /* calls that use the slot; guarded by table_lock */
	pthread_mutex_t lock; /* guards everything below; not held while a host is waited for */
	pthread_cond_t idle;  /* `busy` has ended */
	bool busy;            /* a call uses the connection and its buffers, also while it does not hold the lock */
	bool closing;
	pthread_t poller; /* pcscd's thread that waits for events of this slot */
	bool polled;      /* whether `poller` is known */
	char directory[sizeof(((struct sockaddr_un *)0)->sun_path)];
	unsigned number, slots;
	int events, wake, watch, host; /* epoll, eventfd, inotify, and the connection or -1 */
	long since;                    /* when the connection began (all times in ms) */
	long pause, retry_at;          /* until the next attempt to reach the host */
	bool woken;                    /* pcscd wants its thread back */
	bool present;                  /* what the host said last */
	bool missed;  /* the card was removed, and pcscd does not know it yet, even if a card is present again */
	bool noticed; /* what pcscd's thread was told last */
	bool settled; /* what the host was told that pcscd's clients can see */
	unsigned told; /* a bit for each fault that was logged */
	long half_since; /* when the first byte in `buffer` arrived */
	size_t filled;
	uint8_t buffer[4 + LONGEST], request[4 + LONGEST];
};

static struct slot *table[READERS][SLOTS];
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t unused = PTHREAD_COND_INITIALIZER; /* the last call that used a slot has ended */

static struct slot **place(DWORD lun)
{
	DWORD reader = lun >> 16, number = lun & 0xFFFF;
	return reader < READERS && number < SLOTS ? &table[reader][number] : NULL;
}

/* Return the slot with its lock held, or NULL. It exists until `leave`. */
static struct slot *enter(DWORD lun)
{
	pthread_mutex_lock(&table_lock);
	struct slot **found = place(lun);
	struct slot *slot = found ? *found : NULL;
	if (slot)
		slot->users++;
	pthread_mutex_unlock(&table_lock);
	if (slot)
		pthread_mutex_lock(&slot->lock);
	return slot;
}

static void leave(struct slot *slot)
{
	pthread_mutex_unlock(&slot->lock);
	pthread_mutex_lock(&table_lock);
	if (--slot->users == 0)
		pthread_cond_broadcast(&unused);
	pthread_mutex_unlock(&table_lock);
}

static long now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000L + now.tv_nsec / 1000000L;
}

static void complain(struct slot *slot, enum fault fault)
{
	if (fault != NONE && !(slot->told & 1u << fault) && log_msg)
		log_msg(PCSC_LOG_ERROR, "kazashi reader %s slot %u: %s", slot->directory, slot->number, descriptions[fault]);
	slot->told |= 1u << fault;
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

/* Have the connection to oneself until `finish`. */
static void begin(struct slot *slot)
{
	while (slot->busy)
		pthread_cond_wait(&slot->idle, &slot->lock);
	slot->busy = true;
}

static void finish(struct slot *slot)
{
	slot->busy = false;
	pthread_cond_broadcast(&slot->idle);
}

static void detach(struct slot *slot, enum fault fault)
{
	if (slot->host < 0)
		return;
	long now = now_ms();
	if (now - slot->since >= RELAPSE_MS)
		slot->told = 0;
	if (now - slot->since >= LONGEST_PAUSE_MS)
		slot->pause = FIRST_PAUSE_MS;
	slot->retry_at = now + slot->pause;
	complain(slot, slot->closing ? NONE : fault);
	close(slot->host); /* which also takes it out of `events` */
	slot->host = -1;
	slot->filled = 0;
	set_presence(slot, false);
	wake_up(slot);
}

/* Send a message whose body has two parts, which together have room in a message, or end the connection. */
static bool send_message(struct slot *slot, uint8_t kind, const void *first, size_t first_length, const void *second,
                         size_t second_length)
{
	size_t length = HEAD + first_length + second_length, sent = 0;
	put32(slot->request, (uint32_t)(length - 4));
	slot->request[4] = kind;
	if (first_length)
		memcpy(slot->request + HEAD, first, first_length);
	if (second_length)
		memcpy(slot->request + HEAD + first_length, second, second_length);
	for (long deadline = now_ms() + REPLY_MS; sent < length;) {
		pthread_mutex_unlock(&slot->lock);
		ssize_t count = send(slot->host, slot->request + sent, length - sent, MSG_NOSIGNAL);
		bool broken = count < 0 && errno != EINTR && errno != EAGAIN;
		pthread_mutex_lock(&slot->lock);
		if (count > 0)
			sent += (size_t)count;
		if (broken || slot->closing || (sent < length && now_ms() >= deadline)) {
			detach(slot, broken ? NONE : UNREAD);
			return false;
		}
	}
	return true;
}

/* Return the length of the first message received, 0 if it is not complete, or NOT_A_MESSAGE. */
enum { NOT_A_MESSAGE = -1, ENDED = -2 };
static long complete(const struct slot *slot)
{
	if (slot->filled < HEAD)
		return 0;
	uint32_t length = get32(slot->buffer);
	if (length < 1 || length > LONGEST)
		return NOT_A_MESSAGE;
	return slot->filled >= 4 + length ? (long)(4 + length) : 0;
}

static void consume(struct slot *slot, size_t length)
{
	slot->filled -= length;
	slot->half_since = now_ms();
	memmove(slot->buffer, slot->buffer + length, slot->filled);
}

/* Receive until the first message is complete, and return its length. Return 0 if it is not complete at the time
 * `deadline`, NOT_A_MESSAGE, or ENDED. With `deadline` 0, the lock is held, and only what has arrived is read. */
static long receive(struct slot *slot, long deadline)
{
	for (;;) {
		long length = complete(slot);
		if (length)
			return length;
		if (slot->closing)
			return ENDED;
		if (deadline)
			pthread_mutex_unlock(&slot->lock);
		ssize_t count = recv(slot->host, slot->buffer + slot->filled, sizeof slot->buffer - slot->filled,
		                     deadline ? 0 : MSG_DONTWAIT);
		bool nothing = count < 0 && errno == EAGAIN, interrupted = count < 0 && errno == EINTR;
		if (deadline)
			pthread_mutex_lock(&slot->lock);
		if (count == 0 || (count < 0 && !nothing && !interrupted))
			return ENDED;
		if (count > 0) {
			if (!slot->filled)
				slot->half_since = now_ms();
			slot->filled += (size_t)count;
		}
		if (deadline ? now_ms() >= deadline : nothing)
			return complete(slot);
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

/* Take what has arrived while no request was open. */
static void take_events(struct slot *slot)
{
	for (int i = 0; slot->host >= 0 && i < EVENTS_AT_ONCE; i++) {
		long length = receive(slot, 0);
		if (length == 0) {
			if (slot->filled && now_ms() - slot->half_since >= HALF_MESSAGE_MS)
				detach(slot, HALF);
			return;
		}
		if (length < 0)
			detach(slot, length == ENDED ? NONE : NONSENSE);
		else if (!take_event(slot, (size_t)length))
			detach(slot, OUT_OF_TURN);
	}
}

/* Return what is wrong with the host on the new connection. Cards here may be hosted by the owner of the directory, in
 * which nobody else can put a socket, by root, and by pcscd's own user. */
static enum fault distrust(const struct slot *slot)
{
	struct stat directory;
	struct ucred peer;
	socklen_t size = sizeof peer;
	if (stat(slot->directory, &directory) != 0 ||
	    getsockopt(slot->host, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
		return UNREACHABLE;
	if (directory.st_mode & (S_IWGRP | S_IWOTH))
		return OPEN_DIRECTORY;
	return peer.uid == directory.st_uid || peer.uid == 0 || peer.uid == geteuid() ? NONE : STRANGER;
}

/* Exchange greetings on the new connection. */
static void greet(struct slot *slot)
{
	uint8_t greeting[] = {VERSION, (uint8_t)slot->number};
	if (!send_message(slot, HELLO, greeting, sizeof greeting, NULL, 0))
		return;
	long length = receive(slot, now_ms() + GREETING_MS);
	if (length == ENDED || length == 0) { /* a host that does not trust pcscd's user ends the connection */
		detach(slot, length ? NONE : SILENT);
	} else if (length != HEAD + 2 || slot->buffer[4] != HELLO || slot->buffer[5] != VERSION || slot->buffer[6] > 1) {
		detach(slot, NO_HOST);
	} else {
		set_presence(slot, slot->buffer[6]);
		consume(slot, (size_t)length);
		struct epoll_event event = {.events = EPOLLIN, .data.fd = slot->host};
		epoll_ctl(slot->events, EPOLL_CTL_ADD, slot->host, &event);
	}
}

/* Try to reach the host of a slot that has no connection. */
static void attach(struct slot *slot)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval tick = {.tv_usec = TICK_MS * 1000};
	begin(slot);
	int length = snprintf(address.sun_path, sizeof address.sun_path, "%s/%u", slot->directory, slot->number);
	bool fits = length < (int)sizeof address.sun_path;
	pthread_mutex_unlock(&slot->lock);
	inotify_add_watch(slot->watch, slot->directory, IN_CREATE | IN_MOVED_TO | IN_ATTRIB); /* it may be a new one */
	int host = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(host, SOL_SOCKET, SO_SNDTIMEO, &tick, sizeof tick); /* also for connect, if the host's queue is full */
	setsockopt(host, SOL_SOCKET, SO_RCVTIMEO, &tick, sizeof tick);
	bool connected = fits && host >= 0 && connect(host, (struct sockaddr *)&address, sizeof address) == 0;
	bool nobody = errno == ENOENT || errno == ECONNREFUSED || errno == EINTR;
	pthread_mutex_lock(&slot->lock);
	slot->since = now_ms();
	slot->retry_at = slot->since + slot->pause;
	slot->pause = slot->pause * 2 < LONGEST_PAUSE_MS ? slot->pause * 2 : LONGEST_PAUSE_MS;
	if (connected) {
		slot->host = host;
		slot->settled = false;
		enum fault fault = distrust(slot);
		if (fault == NONE)
			greet(slot);
		else
			detach(slot, fault);
	} else {
		complain(slot, nobody ? NONE : UNREACHABLE);
		if (host >= 0)
			close(host);
	}
	finish(slot);
}

/* Send a request and wait for its reply. The reply stays in the buffer, and has *received bytes. */
static RESPONSECODE answered(struct slot *slot, uint8_t kind, const void *first, size_t first_length,
                             const void *second, size_t second_length, size_t *received)
{
	static const RESPONSECODE codes[] = {
		[DONE] = IFD_SUCCESS,
		[CARD_ABSENT] = IFD_ICC_NOT_PRESENT,
		[CARD_MUTE] = IFD_ERROR_POWER_ACTION,
		[FAILED] = IFD_COMMUNICATION_ERROR,
		[UNSUPPORTED] = IFD_ERROR_NOT_SUPPORTED,
		[PROTOCOL_REFUSED] = IFD_PROTOCOL_NOT_SUPPORTED,
	};
	if (!send_message(slot, kind, first, first_length, second, second_length))
		return IFD_COMMUNICATION_ERROR;
	long last = now_ms() + LONGEST_EXCHANGE_MS;
	for (long deadline = now_ms() + REPLY_MS;;) {
		long length = receive(slot, deadline);
		if (length < 0) {
			detach(slot, length == ENDED ? NONE : NONSENSE);
			return IFD_COMMUNICATION_ERROR;
		}
		if (length == 0) {
			detach(slot, slot->filled ? HALF : SILENT);
			return IFD_RESPONSE_TIMEOUT;
		}
		bool more_time = slot->buffer[4] == MORE_TIME;
		if (take_event(slot, (size_t)length)) {
			long now = now_ms();
			if (now >= deadline) {
				detach(slot, ENDLESS);
				return IFD_RESPONSE_TIMEOUT;
			}
			if (more_time)
				deadline = now + REPLY_MS < last ? now + REPLY_MS : last;
		} else if (slot->buffer[4] == REPLY && length > HEAD && slot->buffer[5] <= PROTOCOL_REFUSED) {
			*received = (size_t)length;
			return codes[slot->buffer[5]];
		} else {
			detach(slot, OUT_OF_TURN);
			return IFD_COMMUNICATION_ERROR;
		}
	}
}

static void listen_to_host(struct slot *slot, bool listen)
{
	struct epoll_event event = {.events = listen ? EPOLLIN : 0, .data.fd = slot->host};
	epoll_ctl(slot->events, EPOLL_CTL_MOD, slot->host, &event);
}

/* Exchange a request with the host, and copy the reply's body. *size is the room for it, and then its length. */
static RESPONSECODE exchange(DWORD lun, uint8_t kind, const void *first, size_t first_length, const void *second,
                             size_t second_length, UCHAR *body, DWORD *size)
{
	DWORD room = size ? *size : 0;
	size_t received = 0;
	if (size)
		*size = 0;
	if (second_length > LONGEST - 1 - first_length)
		return IFD_COMMUNICATION_ERROR;
	struct slot *slot = enter(lun);
	if (!slot)
		return IFD_NO_SUCH_DEVICE;
	RESPONSECODE code = IFD_COMMUNICATION_ERROR;
	bool with_card = kind == POWER_UP || kind == RESET || kind == TRANSMIT || kind == PROTOCOL;
	begin(slot);
	take_events(slot); /* what has arrived since is older than the reply */
	if (with_card && (slot->missed || !slot->present)) {
		code = IFD_ICC_NOT_PRESENT;
	} else if (slot->host >= 0) {
		listen_to_host(slot, false);
		code = answered(slot, kind, first, first_length, second, second_length, &received);
		if (code == IFD_SUCCESS && size) {
			size_t length = received - HEAD - 1;
			if (length > room)
				code = IFD_ERROR_INSUFFICIENT_BUFFER;
			else if (body && length)
				memcpy(body, slot->buffer + HEAD + 1, length);
			*size = length > room ? 0 : (DWORD)length;
		}
		consume(slot, received);
		if (slot->host >= 0)
			listen_to_host(slot, true);
	}
	finish(slot);
	if (changed(slot) || slot->settled != slot->noticed)
		wake_up(slot);
	leave(slot);
	return code;
}

/* Wait until pcscd should look at the slot again, at most `timeout` ms. pcscd calls it in a thread of its own, each
 * time after everything that the last call reported is visible to its clients. */
static RESPONSECODE wait_for_event(DWORD lun, int timeout)
{
	struct slot *slot = enter(lun);
	if (!slot)
		return IFD_NO_SUCH_DEVICE;
	long end = now_ms() + timeout;
	slot->poller = pthread_self();
	slot->polled = true;
	if (slot->missed && !slot->noticed)
		slot->missed = false;
	for (;;) {
		if (!slot->busy && slot->host < 0 && now_ms() >= slot->retry_at)
			attach(slot);
		if (!slot->busy && slot->host >= 0) {
			begin(slot);
			if (slot->settled != slot->noticed) {
				uint8_t visible = slot->noticed;
				slot->settled = slot->noticed;
				send_message(slot, SETTLED, &visible, 1, NULL, 0);
			}
			take_events(slot);
			finish(slot);
		}
		long now = now_ms(), until = end;
		if (slot->woken || slot->closing || changed(slot) || now >= end)
			break;
		if (!slot->busy && slot->host < 0 && slot->retry_at < until)
			until = slot->retry_at;
		if (!slot->busy && slot->filled && now + HALF_MESSAGE_MS < until)
			until = now + HALF_MESSAGE_MS;
		int host = slot->host;
		pthread_mutex_unlock(&slot->lock);
		struct epoll_event event;
		int count = epoll_wait(slot->events, &event, 1, until > now ? (int)(until - now) : 0);
		if (count == 1 && event.data.fd != host) {
			uint8_t drained[4096];
			(void)!read(event.data.fd, drained, sizeof drained);
		}
		pthread_mutex_lock(&slot->lock);
		if (count == 1 && event.data.fd == slot->watch) {
			slot->pause = FIRST_PAUSE_MS;
			slot->retry_at = 0;
		}
	}
	slot->woken = false;
	leave(slot);
	return IFD_SUCCESS;
}

/* pcscd calls this at its end, and when the last client has disconnected, to power the card off in time. */
static RESPONSECODE stop_waiting(DWORD lun)
{
	struct slot *slot = enter(lun);
	if (!slot)
		return IFD_NO_SUCH_DEVICE;
	slot->woken = true;
	wake_up(slot);
	leave(slot);
	return IFD_SUCCESS;
}

static void release(struct slot *slot)
{
	int open[] = {slot->host, slot->watch, slot->wake, slot->events};
	for (size_t i = 0; i < sizeof open / sizeof *open; i++)
		if (open[i] >= 0)
			close(open[i]);
	pthread_cond_destroy(&slot->idle);
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
	pthread_cond_init(&slot->idle, NULL);
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
	int sources[] = {slot->wake, slot->watch};
	for (int i = 0; i < 2; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.fd = sources[i]};
		epoll_ctl(slot->events, EPOLL_CTL_ADD, sources[i], &event);
	}
	pthread_mutex_lock(&slot->lock);
	attach(slot); /* so that the first client finds a card that lies in the reader */
	pthread_mutex_unlock(&slot->lock);
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
	pthread_mutex_lock(&slot->lock);
	slot->closing = true;
	if (slot->host >= 0)
		shutdown(slot->host, SHUT_RDWR); /* which ends an exchange */
	wake_up(slot);
	pthread_mutex_unlock(&slot->lock);
	pthread_mutex_lock(&table_lock);
	while (slot->users)
		pthread_cond_wait(&unused, &table_lock);
	pthread_mutex_unlock(&table_lock);
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
	uint8_t one = 1, readers = READERS - 1, slots = 1, tag[4];
	struct slot *slot = enter(Lun); /* pcscd asks for some before it creates the slot */
	if (slot) {
		slots = (uint8_t)slot->slots;
		leave(slot);
	}
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
	RESPONSECODE code = exchange(Lun, GET_ATTRIBUTE, tag, sizeof tag, NULL, 0, Value, Length);
	return code == IFD_SUCCESS || code == IFD_ERROR_INSUFFICIENT_BUFFER ? code : IFD_ERROR_TAG;
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
	if (Action != IFD_POWER_DOWN)
		*AtrLength = length;
	bool without_atr = Action != IFD_POWER_DOWN && !length;
	return (code == IFD_SUCCESS && !without_atr) || code == IFD_ICC_NOT_PRESENT ? code : IFD_ERROR_POWER_ACTION;
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
	struct slot *slot = enter(Lun);
	if (!slot)
		return IFD_NO_SUCH_DEVICE;
	bool present = slot->present && !slot->missed;
	if (!slot->polled || pthread_equal(slot->poller, pthread_self()))
		slot->noticed = present;
	leave(slot);
	return present ? IFD_ICC_PRESENT : IFD_ICC_NOT_PRESENT;
}
