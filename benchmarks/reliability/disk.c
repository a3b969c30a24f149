/* A recorder of what a process writes below one directory, for a model of a disk that loses power.
 *
 * usage: LD_PRELOAD=disk.so PROGRAM, and in the program kazashi_record(DIRECTORY, DESCRIPTOR), kazashi_note(TEXT)
 *
 * Each operation is made, and then appended to the journal at DESCRIPTOR; a lock keeps both in the same order.
 * fsync and fdatasync are recorded only: the journal says what would be on the disk. A record is the struct `head`
 * below, a path of `named` bytes, and `long_` bytes of data:
 *
 *   c  a file was created (path)              w  bytes were written (file, place, data)
 *   d  a directory was created (path)         t  a file got the size `place` (file)
 *   r  a path was renamed (path, new path)    s  a file or directory was synced (file)
 *   l  a path got a second name (the same)    n  a note from the program (text)
 *   u  a path was removed (path)
 *
 * A file that another call changes (sendfile, mmap) is not recorded. disk.py finds it by comparing the directory with
 * the journal.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define DESCRIPTORS 65536
#define REAL(name) \
    static __typeof__(name) *real; \
    if (real == NULL) \
        real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

struct head {
    uint64_t file, place;
    uint32_t named, long_;
    uint8_t what, unused[7];
};

static char root[4096];
static int journal = -1;
static uint64_t followed[DESCRIPTORS]; /* the inode of each descriptor that is open below the directory, or 0 */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void kazashi_record(const char *directory, int descriptor)
{
    snprintf(root, sizeof root, "%s", directory);
    memset(followed, 0, sizeof followed);
    journal = descriptor;
}

static int below(const char *path)
{
    size_t length = strlen(root);
    return journal >= 0 && strncmp(path, root, length) == 0 && (path[length] == '/' || path[length] == 0);
}

static uint64_t inode(int descriptor)
{
    return journal >= 0 && descriptor >= 0 && descriptor < DESCRIPTORS ? followed[descriptor] : 0;
}

static void append(uint8_t what, uint64_t file, uint64_t place, const char *path, const void *data, size_t length)
{
    struct head head = {.what = what, .file = file, .place = place, .long_ = (uint32_t)length};
    head.named = path == NULL ? 0 : (uint32_t)strlen(path);
    struct iovec parts[] = {{&head, sizeof head}, {(void *)path, head.named}, {(void *)data, length}};
    ssize_t size = (ssize_t)(sizeof head + head.named + length);
    if (writev(journal, parts, 3) != size)
        abort(); /* a journal with a gap would show losses that never were */
}

void kazashi_note(const char *text)
{
    pthread_mutex_lock(&lock);
    append('n', 0, 0, NULL, text, strlen(text));
    pthread_mutex_unlock(&lock);
}

/* Opening and closing */

static int opened(int directory, const char *path, int flags, mode_t mode)
{
    REAL(openat);
    if (!below(path))
        return real(directory, path, flags, mode);
    struct stat about;
    pthread_mutex_lock(&lock);
    int is_new = (flags & O_CREAT) && lstat(path, &about) != 0;
    int descriptor = real(directory, path, flags, mode);
    if (descriptor >= DESCRIPTORS)
        abort();
    if (descriptor >= 0 && fstat(descriptor, &about) == 0) {
        followed[descriptor] = about.st_ino;
        if (is_new)
            append('c', about.st_ino, 0, path, NULL, 0);
        else if (flags & O_TRUNC)
            append('t', about.st_ino, 0, NULL, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    return descriptor;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) \
    { \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more); \
        return opened(AT_FDCWD, path, flags, mode); \
    }
#define OPENAT(name) \
    int name(int directory, const char *path, int flags, ...) \
    { \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more); \
        return opened(directory, path, flags, mode); \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat64)

int close(int descriptor)
{
    REAL(close);
    if (inode(descriptor))
        followed[descriptor] = 0;
    return real(descriptor);
}

static int copied(int from, int to)
{
    if (journal >= 0 && to >= 0 && to < DESCRIPTORS)
        followed[to] = inode(from);
    return to;
}

int dup(int descriptor)
{
    REAL(dup);
    return copied(descriptor, real(descriptor));
}

int dup2(int descriptor, int to)
{
    REAL(dup2);
    return copied(descriptor, real(descriptor, to));
}

int dup3(int descriptor, int to, int flags)
{
    REAL(dup3);
    return copied(descriptor, real(descriptor, to, flags));
}

/* Contents */

static ssize_t wrote(int descriptor, const void *data, size_t length, off64_t place)
{
    static ssize_t (*real_write)(int, const void *, size_t);
    static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);
    if (real_write == NULL) {
        real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
        real_write = dlsym(RTLD_NEXT, "write");
    }
    uint64_t file = inode(descriptor);
    if (file)
        pthread_mutex_lock(&lock);
    ssize_t done = place < 0 ? real_write(descriptor, data, length) : real_pwrite(descriptor, data, length, place);
    if (file && done > 0) {
        off64_t at = place < 0 ? lseek64(descriptor, 0, SEEK_CUR) - done : place;
        append('w', file, (uint64_t)at, NULL, data, (size_t)done);
    }
    if (file)
        pthread_mutex_unlock(&lock);
    return done;
}

ssize_t write(int descriptor, const void *data, size_t length)
{
    return wrote(descriptor, data, length, -1);
}

ssize_t pwrite(int descriptor, const void *data, size_t length, off_t place)
{
    return wrote(descriptor, data, length, place);
}

ssize_t pwrite64(int descriptor, const void *data, size_t length, off64_t place)
{
    return wrote(descriptor, data, length, place);
}

int ftruncate64(int descriptor, off64_t size)
{
    REAL(ftruncate64);
    uint64_t file = inode(descriptor);
    if (!file)
        return real(descriptor, size);
    pthread_mutex_lock(&lock);
    int status = real(descriptor, size);
    if (status == 0)
        append('t', file, (uint64_t)size, NULL, NULL, 0);
    pthread_mutex_unlock(&lock);
    return status;
}

int ftruncate(int descriptor, off_t size)
{
    return ftruncate64(descriptor, size);
}

static int synced(int descriptor, int (*real)(int))
{
    uint64_t file = inode(descriptor);
    if (!file)
        return real(descriptor);
    pthread_mutex_lock(&lock);
    append('s', file, 0, NULL, NULL, 0);
    pthread_mutex_unlock(&lock);
    return 0;
}

int fsync(int descriptor)
{
    REAL(fsync);
    return synced(descriptor, real);
}

int fdatasync(int descriptor)
{
    REAL(fdatasync);
    return synced(descriptor, real);
}

/* Names */

static int named(uint8_t what, const char *path, const char *other, int (*real)(const char *, const char *))
{
    if (!below(path))
        return real(path, other);
    pthread_mutex_lock(&lock);
    int status = real(path, other);
    if (status == 0)
        append(what, 0, 0, path, other, strlen(other));
    pthread_mutex_unlock(&lock);
    return status;
}

int rename(const char *path, const char *other)
{
    REAL(rename);
    return named('r', path, other, real);
}

int link(const char *path, const char *other)
{
    REAL(link);
    return named('l', path, other, real);
}

static int removed(const char *path, int (*real)(const char *))
{
    if (!below(path))
        return real(path);
    pthread_mutex_lock(&lock);
    int status = real(path);
    if (status == 0)
        append('u', 0, 0, path, NULL, 0);
    pthread_mutex_unlock(&lock);
    return status;
}

int unlink(const char *path)
{
    REAL(unlink);
    return removed(path, real);
}

int rmdir(const char *path)
{
    REAL(rmdir);
    return removed(path, real);
}

int mkdir(const char *path, mode_t mode)
{
    REAL(mkdir);
    if (!below(path))
        return real(path, mode);
    pthread_mutex_lock(&lock);
    int status = real(path, mode);
    struct stat about;
    if (status == 0 && stat(path, &about) == 0)
        append('d', about.st_ino, 0, path, NULL, 0);
    pthread_mutex_unlock(&lock);
    return status;
}
