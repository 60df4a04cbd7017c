/* Stands between one member and its libc: the wall clock and the disk do as a page of memory says.
 *
 * Loaded with LD_PRELOAD. KUBRAFT_SHIM_CONTROL names the page, a file that the test writes while the
 * member runs; KUBRAFT_SHIM_DISK names the directory whose files are the disk. So also LMDB and
 * OpenSSL, which are not Python, see what the page says. The monotonic clock is left alone: no
 * kernel ever sets it.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* The same fields, in the same order, as in shim/__init__.py. */
struct control {
    volatile int64_t wall_offset_ns;  /* added to the wall clock */
    volatile int64_t sync_delay_us;   /* every sync takes so much longer */
    volatile int64_t sync_errno;      /* every sync fails with it; 0: none does */
    volatile int64_t room_bytes;      /* what may still be written; -1: any amount */
    volatile int64_t hits;            /* calls that were changed, clocks left out */
};

static struct control none = {0, 0, 0, -1, 0};
static struct control *control = &none;
static const char *disk = "";

__attribute__((constructor)) static void attach(void) {
    const char *name = getenv("KUBRAFT_SHIM_CONTROL");
    const char *directory = getenv("KUBRAFT_SHIM_DISK");
    if (!name || !directory) return;
    int file = open(name, O_RDWR | O_CLOEXEC);
    if (file < 0) return;
    void *page = mmap(NULL, sizeof none, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (page == MAP_FAILED) return;
    control = page;
    disk = directory;
}

/* The function of libc behind ours. */
#define REAL(name, ...) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static int on_disk(int file) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    size_t prefix = strlen(disk);
    return strncmp(path, disk, prefix) == 0 && (path[prefix] == '/' || path[prefix] == 0);
}

/* ---- the wall clock */

static void shift(struct timespec *at) {
    int64_t offset = control->wall_offset_ns;
    if (!offset) return;
    int64_t ns = at->tv_nsec + offset % 1000000000;
    at->tv_sec += offset / 1000000000;
    if (ns < 0) { ns += 1000000000; at->tv_sec--; }
    if (ns >= 1000000000) { ns -= 1000000000; at->tv_sec++; }
    at->tv_nsec = ns;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    REAL(clock_gettime);
    int result = real(clock, at);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) shift(at);
    return result;
}

int gettimeofday(struct timeval *at, void *zone) {
    (void)zone;
    struct timespec now;
    int result = clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return result;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}

/* ---- syncs */

static int sync_fails(int file) {
    int64_t delay = control->sync_delay_us, error = control->sync_errno;
    if ((!delay && !error) || (file >= 0 && !on_disk(file))) return 0;
    control->hits++;
    if (delay) usleep(delay);
    if (error) errno = (int)error;
    return error != 0;
}

int fsync(int file) {
    REAL(fsync);
    return sync_fails(file) ? -1 : real(file);
}

int fdatasync(int file) {
    REAL(fdatasync);
    return sync_fails(file) ? -1 : real(file);
}

int msync(void *start, size_t length, int flags) {
    REAL(msync);
    return sync_fails(-1) ? -1 : real(start, length, flags);
}

/* ---- writes: a full disk takes what fits and then nothing */

static int64_t fits(int file, size_t size) {
    if (control->room_bytes < 0 || !on_disk(file)) return size;
    int64_t room = control->room_bytes;
    int64_t taken = (int64_t)size < room ? (int64_t)size : room;
    control->room_bytes = room - taken;
    if (taken < (int64_t)size) control->hits++;
    if (taken == 0 && size) { errno = ENOSPC; return -1; }
    return taken;
}

ssize_t write(int file, const void *data, size_t size) {
    REAL(write);
    int64_t taken = fits(file, size);
    return taken < 0 ? -1 : real(file, data, taken);
}

ssize_t pwrite(int file, const void *data, size_t size, off_t at) {
    REAL(pwrite);
    int64_t taken = fits(file, size);
    return taken < 0 ? -1 : real(file, data, taken, at);
}

ssize_t pwrite64(int file, const void *data, size_t size, off64_t at) {
    return pwrite(file, data, size, at);
}

static size_t total(const struct iovec *parts, int count) {
    size_t size = 0;
    for (int i = 0; i < count; i++) size += parts[i].iov_len;
    return size;
}

/* A vector that does not fit is not written at all. */
ssize_t writev(int file, const struct iovec *parts, int count) {
    REAL(writev);
    size_t size = total(parts, count);
    if (control->room_bytes >= 0 && fits(file, size) != (int64_t)size) { errno = ENOSPC; return -1; }
    return real(file, parts, count);
}

ssize_t pwritev(int file, const struct iovec *parts, int count, off_t at) {
    REAL(pwritev);
    size_t size = total(parts, count);
    if (control->room_bytes >= 0 && fits(file, size) != (int64_t)size) { errno = ENOSPC; return -1; }
    return real(file, parts, count, at);
}

ssize_t pwritev64(int file, const struct iovec *parts, int count, off64_t at) {
    return pwritev(file, parts, count, at);
}
