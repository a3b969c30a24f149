/*
 * An IFD handler for pcscd whose readers are unix sockets (PCSC/ifdhandler.h, version 3). docs/driver.md describes it.
 *
 * A reader is a directory (DEVICENAME "DIRECTORY:SLOTS" in reader.conf), and each of its slots a socket in it, on which
 * the slot's host listens: a program that decides about presence, ATR, responses, controls, attributes and protocols.
 */
#define _GNU_SOURCE /* struct ucred */
#include <arpa/inet.h>
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
enum { HEAD = 5, LONGEST = 0x11000, EVENTS_AT_ONCE = 64 };
enum { HELLO, POWER_UP, POWER_DOWN, RESET, TRANSMIT, CONTROL, GET_ATTRIBUTE, SET_ATTRIBUTE, PROTOCOL, SETTLED };
enum { NOTHING = -1, REPLY = 0x80, PRESENCE, MORE_TIME };
enum { EMPTY, CARD, UNPLUGGED }; /* what can be seen of a slot; an unplugged reader is UNPLUGGED in all its slots */
enum { DONE, CARD_ABSENT, CARD_MUTE, FAILED, UNSUPPORTED, PROTOCOL_REFUSED };

/* Limits of time, which are looked at every TICK_MS. MORE_TIME starts REPLY_MS again, up to LONGEST_EXCHANGE_MS: a card
 * may make a long key, but a host must not occupy a thread of pcscd for ever. */
enum { TICK_MS = 500, GREETING_MS = 1000, HALF_MESSAGE_MS = 1000, REPLY_MS = 10000, LONGEST_EXCHANGE_MS = 300000 };

/* The pauses between attempts to reach a host, which changes in the directory end. Each fault is logged once, until a
 * connection has lasted for RELAPSE_MS. The end of a host is not a fault. */
enum { FIRST_PAUSE_MS = 10, LONGEST_PAUSE_MS = 1000, RELAPSE_MS = 10000 };
enum fault { NONE, UNREACHABLE, OPEN_DIRECTORY, STRANGER, SILENT, HALF, NONSENSE, OUT_OF_TURN };
static const char *const descriptions[] = {
	[UNREACHABLE] = "the socket cannot be reached: pcscd may not enter the directory, or the host accepts nobody",
	[OPEN_DIRECTORY] = "refused: others than its owner can write in the directory",
	[STRANGER] = "refused: the host runs as a user to whom the directory does not belong",
	[SILENT] = "the host did not read or reply in time",
	[HALF] = "the host sent half a message",
	[NONSENSE] = "what listens there is not a host of cards: it sent no message of the protocol",
	[OUT_OF_TURN] = "the host sent a message out of turn",
};

struct slot {
	unsigned users; /* calls that use the slot */
	bool busy;      /* a call uses the connection and its buffers */
	pthread_t poller; /* pcscd's thread that waits for events of this slot */
	bool polled;      /* whether `poller` is known */
	char directory[104]; /* which leaves room in a socket's address of 108 bytes for "/" and the number */
	uint8_t number;
	unsigned slots;
	int events, wake, watch, host; /* epoll, eventfd, inotify, and the connection or -1 */
	long since;                    /* when the connection began (all times in ms) */
	long pause, retry_at;          /* until the next attempt to reach the host */
	bool woken;                    /* pcscd wants its thread back */
	uint8_t presence;              /* what the host said last */
	bool missed;  /* the card was removed, and pcscd does not know it yet, even if a card is present again */
	uint8_t noticed; /* what pcscd's thread was told last */
	uint8_t settled; /* what the host was told that pcscd's clients can see */
	unsigned told; /* a bit for each fault that was logged */
	long half_since; /* when the first byte in `buffer` arrived */
	size_t start, filled;
	uint8_t request[4 + LONGEST], buffer[4 + LONGEST];
};

/* One lock for all slots is enough: it is not held while a host is waited for. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t released = PTHREAD_COND_INITIALIZER; /* `busy` or `users` of a slot has become less */
static struct slot *table[READERS][SLOTS];

static struct slot **place(DWORD lun)
{
	DWORD reader = lun >> 16, number = lun & 0xFFFF;
	return reader < READERS && number < SLOTS ? &table[reader][number] : NULL;
}

/* Take the lock and return the slot, which exists until `leave`, or return NULL without the lock. */
static struct slot *enter(DWORD lun)
{
	pthread_mutex_lock(&lock);
	struct slot **found = place(lun);
	if (found && *found) {
		(*found)->users++;
		return *found;
	}
	pthread_mutex_unlock(&lock);
	return NULL;
}

static void leave(struct slot *slot)
{
	slot->users--;
	pthread_cond_broadcast(&released);
	pthread_mutex_unlock(&lock);
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

static void listen_to(struct slot *slot, int source, int operation, bool listen)
{
	struct epoll_event event = {.events = listen ? EPOLLIN : 0, .data.fd = source};
	epoll_ctl(slot->events, operation, source, &event);
}

static void wake_up(struct slot *slot)
{
	uint64_t one = 1;
	(void)!write(slot->wake, &one, sizeof one);
}

static void set_presence(struct slot *slot, uint8_t presence)
{
	slot->missed |= slot->presence == CARD && presence != CARD;
	slot->presence = presence;
}

static bool changed(const struct slot *slot)
{
	return slot->missed ? slot->noticed == CARD : slot->presence != slot->noticed;
}

/* Have the connection to oneself, also while the lock is not held. pcscd's thread does not listen to it meanwhile. */
static void begin(struct slot *slot)
{
	while (slot->busy)
		pthread_cond_wait(&released, &lock);
	slot->busy = true;
	listen_to(slot, slot->host, EPOLL_CTL_MOD, false);
}

static void finish(struct slot *slot)
{
	slot->busy = false;
	listen_to(slot, slot->host, EPOLL_CTL_MOD, true);
	pthread_cond_broadcast(&released);
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
	complain(slot, fault);
	close(slot->host); /* which also takes it out of `events` */
	slot->host = -1;
	slot->start = slot->filled = 0;
	set_presence(slot, EMPTY);
	wake_up(slot);
}

/* Send a message whose body has two parts, which together have room in a message, or end the connection. */
static bool send_message(struct slot *slot, uint8_t kind, const void *first, size_t first_length, const void *second,
                         size_t second_length)
{
	size_t length = HEAD + first_length + second_length, sent = 0;
	uint32_t following = htonl((uint32_t)(length - 4));
	memcpy(slot->request, &following, 4);
	slot->request[4] = kind;
	if (first_length)
		memcpy(slot->request + HEAD, first, first_length);
	if (second_length)
		memcpy(slot->request + HEAD + first_length, second, second_length);
	for (long deadline = now_ms() + REPLY_MS; sent < length;) {
		pthread_mutex_unlock(&lock);
		ssize_t count = send(slot->host, slot->request + sent, length - sent, MSG_NOSIGNAL);
		bool broken = count < 0 && errno != EINTR && errno != EAGAIN;
		pthread_mutex_lock(&lock);
		if (count > 0)
			sent += (size_t)count;
		if (broken || (sent < length && now_ms() >= deadline)) {
			detach(slot, broken ? NONE : SILENT);
			return false;
		}
	}
	return true;
}

static void consume(struct slot *slot, size_t length)
{
	slot->start += length;
	slot->filled -= length;
	slot->half_since = now_ms();
}

/* Read what has arrived, and wait for it if `wait`. Return false if there is nothing. */
static bool receive(struct slot *slot, bool wait)
{
	memmove(slot->buffer, slot->buffer + slot->start, slot->filled);
	slot->start = 0;
	if (wait)
		pthread_mutex_unlock(&lock);
	ssize_t count = recv(slot->host, slot->buffer + slot->filled, sizeof slot->buffer - slot->filled,
	                     wait ? 0 : MSG_DONTWAIT);
	bool nothing = count < 0 && (errno == EAGAIN || errno == EINTR);
	if (wait)
		pthread_mutex_lock(&lock);
	if (count > 0) {
		if (!slot->filled)
			slot->half_since = now_ms();
		slot->filled += (size_t)count;
	} else if (!nothing) {
		detach(slot, NONE);
	}
	return count > 0;
}

/* Take messages until one of the kind `awaited` has arrived, and return its length, or 0 if the connection has ended,
 * as it does after `patience` ms. The message stays at `start`. For NOTHING, take what has arrived already. */
static size_t take(struct slot *slot, int awaited, long patience)
{
	long begun = now_ms(), deadline = begun + patience;
	int taken = 0;
	while (slot->host >= 0 && taken < EVENTS_AT_ONCE) {
		const uint8_t *message = slot->buffer + slot->start + 4;
		uint32_t following = htonl(HEAD - 4);
		if (slot->filled >= HEAD)
			memcpy(&following, message - 4, 4);
		size_t length = 4 + (size_t)ntohl(following);
		if (length < HEAD || length > sizeof slot->buffer) {
			detach(slot, NONSENSE);
		} else if (slot->filled < length) {
			if (awaited != NOTHING && now_ms() >= deadline)
				detach(slot, SILENT);
			else if (!receive(slot, awaited != NOTHING) && awaited == NOTHING)
				break;
		} else if (message[0] == awaited) {
			return length;
		} else {
			long now = now_ms(), last = begun + LONGEST_EXCHANGE_MS;
			if (message[0] == PRESENCE && length == HEAD + 1 && message[1] <= UNPLUGGED)
				set_presence(slot, message[1]);
			else if (message[0] == MORE_TIME && length == HEAD)
				deadline = now + patience < last ? now + patience : last;
			else
				length = 0;
			if (length)
				consume(slot, length);
			else
				detach(slot, OUT_OF_TURN);
			taken += awaited == NOTHING;
		}
	}
	if (taken == EVENTS_AT_ONCE) /* others shall have their turn while a host floods the driver */
		wake_up(slot);
	else if (slot->filled && now_ms() - slot->half_since >= HALF_MESSAGE_MS)
		detach(slot, HALF);
	return 0;
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

/* Try to reach the host of a slot that has no connection. */
static void attach(struct slot *slot)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval tick = {.tv_usec = TICK_MS * 1000};
	begin(slot);
	snprintf(address.sun_path, sizeof address.sun_path, "%s/%u", slot->directory, slot->number);
	pthread_mutex_unlock(&lock);
	inotify_add_watch(slot->watch, slot->directory, IN_CREATE | IN_MOVED_TO | IN_ATTRIB); /* it may be a new one */
	int host = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(host, SOL_SOCKET, SO_SNDTIMEO, &tick, sizeof tick); /* also for connect, if the host's queue is full */
	setsockopt(host, SOL_SOCKET, SO_RCVTIMEO, &tick, sizeof tick);
	bool connected = host >= 0 && connect(host, (struct sockaddr *)&address, sizeof address) == 0;
	bool nobody = errno == ENOENT || errno == ECONNREFUSED || errno == EINTR;
	pthread_mutex_lock(&lock);
	slot->since = now_ms();
	slot->retry_at = slot->since + slot->pause;
	slot->pause = slot->pause * 2 < LONGEST_PAUSE_MS ? slot->pause * 2 : LONGEST_PAUSE_MS;
	if (connected) {
		uint8_t greeting[] = {VERSION, slot->number};
		size_t length = 0;
		slot->host = host;
		slot->settled = EMPTY;
		enum fault fault = distrust(slot);
		if (fault == NONE && send_message(slot, HELLO, greeting, sizeof greeting, NULL, 0))
			length = take(slot, HELLO, GREETING_MS);
		const uint8_t *body = slot->buffer + slot->start + HEAD;
		if (length == HEAD + 2 && body[0] == VERSION && body[1] <= UNPLUGGED) {
			set_presence(slot, body[1]);
			consume(slot, length);
			listen_to(slot, host, EPOLL_CTL_ADD, true);
		} else {
			detach(slot, fault == NONE ? NONSENSE : fault);
		}
	} else {
		complain(slot, nobody ? NONE : UNREACHABLE);
		close(host);
	}
	finish(slot);
}

/* Exchange a request with the host, and copy the reply's body. *size is the room for it, and then its length. */
static RESPONSECODE exchange(DWORD lun, uint8_t kind, const void *first, size_t first_length, const void *second,
                             size_t second_length, UCHAR *body, DWORD *size)
{
	static const RESPONSECODE codes[] = { /* in the order of the reply codes */
		IFD_SUCCESS,             IFD_ICC_NOT_PRESENT,     IFD_ERROR_POWER_ACTION,
		IFD_COMMUNICATION_ERROR, IFD_ERROR_NOT_SUPPORTED, IFD_PROTOCOL_NOT_SUPPORTED};
	DWORD room = size ? *size : 0;
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
	take(slot, NOTHING, 0); /* what has arrived since is older than the reply */
	if (with_card && (slot->missed || slot->presence != CARD)) {
		code = IFD_ICC_NOT_PRESENT;
	} else if (slot->host >= 0) {
		size_t length = 0;
		if (send_message(slot, kind, first, first_length, second, second_length))
			length = take(slot, REPLY, REPLY_MS);
		const uint8_t *reply = slot->buffer + slot->start + HEAD;
		if (length > HEAD && *reply <= PROTOCOL_REFUSED) {
			code = codes[*reply];
			size_t copied = code == IFD_SUCCESS && size ? length - HEAD - 1 : 0;
			if (copied > room)
				code = IFD_ERROR_INSUFFICIENT_BUFFER;
			else if (copied && body)
				memcpy(body, reply + 1, copied);
			if (size && copied <= room)
				*size = copied;
			consume(slot, length);
		} else {
			detach(slot, NONSENSE);
		}
	}
	finish(slot);
	if (changed(slot) || slot->settled != slot->noticed || slot->filled)
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
	if (slot->missed && slot->noticed != CARD)
		slot->missed = false;
	for (;;) {
		if (!slot->busy && slot->host < 0 && now_ms() >= slot->retry_at)
			attach(slot);
		if (!slot->busy && slot->host >= 0) {
			begin(slot);
			if (slot->settled != slot->noticed) {
				uint8_t visible = slot->settled = slot->noticed;
				send_message(slot, SETTLED, &visible, 1, NULL, 0);
			}
			take(slot, NOTHING, 0);
			finish(slot);
		}
		long now = now_ms(), until = end;
		if (slot->woken || changed(slot) || now >= end)
			break;
		if (!slot->busy && slot->host < 0 && slot->retry_at < until)
			until = slot->retry_at;
		if (!slot->busy && slot->filled && now + HALF_MESSAGE_MS < until)
			until = now + HALF_MESSAGE_MS;
		int host = slot->host;
		pthread_mutex_unlock(&lock);
		struct epoll_event event;
		int count = epoll_wait(slot->events, &event, 1, until > now ? (int)(until - now) : 0);
		if (count == 1 && event.data.fd != host) {
			uint8_t drained[4096];
			(void)!read(event.data.fd, drained, sizeof drained);
		}
		pthread_mutex_lock(&lock);
		if (count == 1 && event.data.fd == slot->watch)
			slot->pause = FIRST_PAUSE_MS, slot->retry_at = 0;
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
	close(slot->host); /* -1 for what is not open does no harm */
	close(slot->watch);
	close(slot->wake);
	close(slot->events);
	free(slot);
}

RESPONSECODE IFDHCreateChannelByName(DWORD Lun, LPSTR DeviceName)
{
	struct slot **empty = place(Lun), *slot = calloc(1, sizeof *slot);
	char rest;
	if (!slot)
		return IFD_COMMUNICATION_ERROR;
	slot->host = slot->watch = slot->wake = slot->events = -1;
	if (sscanf(DeviceName, "%103[^:]:%u%c", slot->directory, &slot->slots, &rest) != 2 || slot->slots < 1 ||
	    slot->slots > SLOTS || !empty || *empty) {
		release(slot);
		if (log_msg)
			log_msg(PCSC_LOG_ERROR, "kazashi: DEVICENAME %s is not DIRECTORY:SLOTS", DeviceName);
		return IFD_NO_SUCH_DEVICE;
	}
	slot->number = (uint8_t)(Lun & 0xFFFF);
	slot->pause = FIRST_PAUSE_MS;
	slot->events = epoll_create1(EPOLL_CLOEXEC);
	slot->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	slot->watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (slot->events < 0 || slot->wake < 0 || slot->watch < 0) {
		release(slot);
		return IFD_COMMUNICATION_ERROR;
	}
	listen_to(slot, slot->wake, EPOLL_CTL_ADD, true);
	listen_to(slot, slot->watch, EPOLL_CTL_ADD, true);
	pthread_mutex_lock(&lock);
	attach(slot); /* so that the first client finds a card that lies in the reader */
	*empty = slot;
	pthread_mutex_unlock(&lock);
	return IFD_SUCCESS;
}

RESPONSECODE IFDHCreateChannel(DWORD Lun, DWORD Channel)
{
	(void)Lun, (void)Channel; /* a reader without DEVICENAME has no directory */
	return IFD_NO_SUCH_DEVICE;
}

RESPONSECODE IFDHCloseChannel(DWORD Lun)
{
	struct slot *slot = enter(Lun);
	if (!slot)
		return IFD_NO_SUCH_DEVICE;
	*place(Lun) = NULL;
	slot->woken = true;
	if (slot->host >= 0)
		shutdown(slot->host, SHUT_RDWR); /* which ends an exchange */
	wake_up(slot);
	while (slot->users > 1)
		pthread_cond_wait(&released, &lock);
	leave(slot);
	release(slot);
	return IFD_SUCCESS;
}

RESPONSECODE IFDHGetCapabilities(DWORD Lun, DWORD Tag, PDWORD Length, PUCHAR Value)
{
	static RESPONSECODE (*const waiting)(DWORD, int) = wait_for_event;
	static RESPONSECODE (*const stopping)(DWORD) = stop_waiting;
	uint8_t no = 0, one = 1, readers = READERS - 1, slots = 1;
	struct slot *slot = enter(Lun); /* pcscd asks for some before it creates the slot */
	if (slot)
		slots = (uint8_t)slot->slots, leave(slot);
	const struct { DWORD tag; const void *value; size_t size; } of_driver[] = {
		{TAG_IFD_SIMULTANEOUS_ACCESS, &readers, 1},
		{TAG_IFD_THREAD_SAFE, &one, 1},
		{TAG_IFD_SLOT_THREAD_SAFE, &one, 1},
		{TAG_IFD_SLOTS_NUMBER, &slots, 1},
		{TAG_IFD_POLLING_THREAD_WITH_TIMEOUT, &waiting, sizeof waiting},
		{TAG_IFD_STOP_POLLING_THREAD, &stopping, sizeof stopping},
		{TAG_IFD_POLLING_THREAD_KILLABLE, &no, 1},
	};
	for (size_t i = 0; i < sizeof of_driver / sizeof *of_driver; i++) {
		if (of_driver[i].tag != Tag)
			continue;
		if (*Length < of_driver[i].size)
			return IFD_ERROR_INSUFFICIENT_BUFFER;
		*Length = of_driver[i].size;
		if (Value)
			memcpy(Value, of_driver[i].value, of_driver[i].size);
		return IFD_SUCCESS;
	}
	uint32_t tag = htonl((uint32_t)Tag);
	DWORD size = *Length; /* pcscd answers some tags itself that we refuse, and needs the room that it gave us */
	RESPONSECODE code = exchange(Lun, GET_ATTRIBUTE, &tag, sizeof tag, NULL, 0, Value, &size);
	if (code == IFD_SUCCESS)
		*Length = size;
	return code == IFD_SUCCESS || code == IFD_ERROR_INSUFFICIENT_BUFFER ? code : IFD_ERROR_TAG;
}

RESPONSECODE IFDHSetCapabilities(DWORD Lun, DWORD Tag, DWORD Length, PUCHAR Value)
{
	uint32_t tag = htonl((uint32_t)Tag);
	RESPONSECODE code = exchange(Lun, SET_ATTRIBUTE, &tag, sizeof tag, Value, Length, NULL, NULL);
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
	if (Action < IFD_POWER_UP || Action > IFD_RESET)
		return IFD_NOT_SUPPORTED;
	bool off = Action == IFD_POWER_DOWN;
	DWORD length = off ? 0 : MAX_ATR_SIZE;
	RESPONSECODE code = exchange(Lun, kinds[Action - IFD_POWER_UP], NULL, 0, NULL, 0, Atr, off ? NULL : &length);
	*AtrLength = length;
	if (code == IFD_ICC_NOT_PRESENT || (code == IFD_SUCCESS && (off || length)))
		return code;
	return IFD_ERROR_POWER_ACTION;
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
	uint32_t control = htonl((uint32_t)dwControlCode);
	DWORD length = RxLength;
	DWORD *room = RxBuffer ? &length : NULL;
	RESPONSECODE code = exchange(Lun, CONTROL, &control, sizeof control, TxBuffer, TxLength, RxBuffer, room);
	*pdwBytesReturned = RxBuffer && code == IFD_SUCCESS ? length : 0;
	return code;
}

RESPONSECODE IFDHICCPresence(DWORD Lun)
{
	struct slot *slot = enter(Lun);
	if (!slot)
		return IFD_NO_SUCH_DEVICE;
	uint8_t presence = slot->missed ? EMPTY : slot->presence;
	if (!slot->polled || pthread_equal(slot->poller, pthread_self()))
		slot->noticed = presence;
	leave(slot);
	return presence == UNPLUGGED ? IFD_NO_SUCH_DEVICE : presence == CARD ? IFD_ICC_PRESENT : IFD_ICC_NOT_PRESENT;
}
