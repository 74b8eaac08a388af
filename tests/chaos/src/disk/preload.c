/*
 * The disk under a process that is to lose power: loaded with LD_PRELOAD, it writes down every change below one folder
 * and obeys faults that the harness sets while the process runs.
 *
 * Each change is put into a shared log *before* it is made and settled *after*, under one lock, so that the log has the
 * order of the real changes and a kill -9 leaves at most one record unsettled. A sync is recorded when it returns,
 * with the place of the log at which it began: it covers no change made while it ran. sync_file_range makes nothing
 * durable and is recorded as nothing. The real sync is left out: what survives is decided by the harness, from the log.
 *
 * Limits: memory maps, io_uring and copy_file_range are not seen (the last two are refused below the folder). The
 * harness notices any change that was not seen, since the log played back whole must give the folder as it is.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Read by records.rs and control.rs: change all three together. */
#define MAGIC 0x31304b5349444d52ULL
#define LOG_HEADER 4096
struct log_header {
    uint64_t magic;
    uint64_t capacity;
    _Atomic uint64_t settled;
    _Atomic uint64_t begun;
};
enum kind { CREATE = 1, MKDIR, LINK, UNLINK, RMDIR, RENAME, WRITE, TRUNCATE, SYNC };
struct record {
    uint32_t length;
    uint32_t kind;
    uint64_t inode;
    uint64_t number;
    uint32_t from_length;
    uint32_t to_length;
    uint64_t data_length;
};
struct control {
    _Atomic int64_t clock_offset_ns;
    _Atomic uint64_t sync_us_min;
    _Atomic uint64_t sync_us_max;
    _Atomic int64_t space_left;   /* bytes; negative is unlimited */
    _Atomic uint64_t write_error; /* errno of every change, 0 is none */
    _Atomic uint64_t sync_error;
    _Atomic uint64_t injected; /* faults given so far */
    char only[104];            /* faults meet paths that contain this */
};

#define FILES_MAX 65536
struct open_file {
    uint64_t inode; /* 0: not ours */
    char *path;
    int liar;
};
static struct open_file files[FILES_MAX];
static char root[PATH_MAX];
static size_t root_length;
static char lie[128];
static unsigned char *log_bytes;
static struct log_header *head;
static struct control *control;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int (*real_clock)(clockid_t, struct timespec *);

static void die(const char *why) {
    (void)!write(2, "chaos disk: ", 12);
    (void)!write(2, why, strlen(why));
    (void)!write(2, "\n", 1);
    abort();
}

static void *map(const char *variable, size_t *length) {
    const char *path = getenv(variable);
    struct stat found;
    if (!path) die("its environment is not complete");
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0 || fstat(fd, &found) != 0) die("a shared file cannot be opened");
    void *at = mmap(NULL, (size_t)found.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) die("a shared file cannot be mapped");
    syscall(SYS_close, fd);
    *length = (size_t)found.st_size;
    return at;
}

__attribute__((constructor)) static void begin(void) {
    const char *folder = getenv("REMUDA_CHAOS_ROOT");
    real_clock = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    if (!folder) return;
    size_t length;
    log_bytes = map("REMUDA_CHAOS_LOG", &length);
    head = (struct log_header *)log_bytes;
    if (head->magic != MAGIC || head->capacity != length) die("the log is not one");
    control = map("REMUDA_CHAOS_CONTROL", &length);
    if (length < sizeof(struct control)) die("the control file is too short");
    const char *liar = getenv("REMUDA_CHAOS_LIE");
    if (liar) snprintf(lie, sizeof lie, "%s", liar);
    snprintf(root, sizeof root, "%s", folder);
    root_length = strlen(root);
}

/* ---- which paths and files are ours ---- */

/* The path below the root, or NULL. `out` holds the absolute one. */
static const char *ours(int dir, const char *path, char out[PATH_MAX]) {
    if (!root_length || !path) return NULL;
    if (path[0] == '/') {
        snprintf(out, PATH_MAX, "%s", path);
    } else {
        char base[PATH_MAX], link[64];
        ssize_t n;
        if (dir == AT_FDCWD) {
            n = syscall(SYS_getcwd, base, sizeof base) > 0 ? (ssize_t)strlen(base) : -1;
        } else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
            n = readlink(link, base, sizeof base - 1);
        }
        if (n <= 0) return NULL;
        base[n] = 0;
        if (snprintf(out, PATH_MAX, "%s/%s", base, path) >= PATH_MAX) return NULL;
    }
    size_t end = strlen(out);
    while (end > 1 && out[end - 1] == '/') out[--end] = 0;
    if (strncmp(out, root, root_length) != 0) return NULL;
    if (out[root_length] == 0) return out + root_length;
    return out[root_length] == '/' ? out + root_length + 1 : NULL;
}

static struct open_file *file_of(int fd) {
    return fd >= 0 && fd < FILES_MAX && files[fd].inode ? &files[fd] : NULL;
}

static void remember(int fd, const char *path) {
    struct stat found;
    if (fd < 0) return;
    if (fd >= FILES_MAX) die("more open files than it can watch");
    if (fstat(fd, &found) != 0 || !(S_ISREG(found.st_mode) || S_ISDIR(found.st_mode))) return;
    free(files[fd].path);
    files[fd].path = strdup(path);
    files[fd].liar = lie[0] && strstr(path, lie) != NULL;
    files[fd].inode = found.st_ino;
}

static void forget(int fd) {
    if (file_of(fd)) files[fd].inode = 0;
}

static void copy(int from, int to) {
    struct open_file *file = file_of(from);
    if (file && to >= 0) {
        char *path = file->path ? strdup(file->path) : NULL;
        free(files[to].path);
        files[to].path = path;
        files[to].liar = file->liar;
        files[to].inode = file->inode;
    }
}

/* ---- the log; the lock is held ---- */

static struct record *begin_record(enum kind kind, uint64_t inode, uint64_t number, const char *from, const char *to,
                                   const struct iovec *data, int count, uint64_t data_length) {
    uint64_t from_length = from ? strlen(from) : 0, to_length = to ? strlen(to) : 0;
    uint64_t length = (sizeof(struct record) + from_length + to_length + data_length + 7) & ~7ULL;
    uint64_t at = atomic_load(&head->settled);
    if (at + length > head->capacity || length > UINT32_MAX) die("its log is full; make it larger");
    struct record *record = (struct record *)(log_bytes + at);
    *record = (struct record){ .length = (uint32_t)length, .kind = kind, .inode = inode, .number = number,
                               .from_length = (uint32_t)from_length, .to_length = (uint32_t)to_length,
                               .data_length = data_length };
    unsigned char *into = (unsigned char *)(record + 1);
    if (from) memcpy(into, from, from_length);
    into += from_length;
    if (to) memcpy(into, to, to_length);
    into += to_length;
    for (int n = 0; n < count && data_length > 0; n++) {
        uint64_t part = data[n].iov_len < data_length ? data[n].iov_len : data_length;
        memcpy(into, data[n].iov_base, part);
        into += part;
        data_length -= part;
    }
    atomic_store(&head->begun, at + length);
    return record;
}

static void settle(struct record *record, int made) {
    uint64_t at = atomic_load(&head->settled);
    if (made) atomic_store(&head->settled, at + record->length);
    atomic_store(&head->begun, atomic_load(&head->settled));
}

/* ---- faults ---- */

static int met(const char *path) {
    return !control->only[0] || (path && strstr(path, control->only) != NULL);
}

static int refused(const char *path) {
    uint64_t error = atomic_load(&control->write_error);
    if (!error || !met(path)) return 0;
    atomic_fetch_add(&control->injected, 1);
    errno = (int)error;
    return 1;
}

/* How much of a write there is room for; 0 is none. */
static size_t room_for(const char *path, size_t wanted) {
    int64_t left = atomic_load(&control->space_left);
    if (left < 0 || !met(path)) return wanted;
    size_t granted = (size_t)left < wanted ? (size_t)left : wanted;
    atomic_store(&control->space_left, left - (int64_t)granted);
    if (granted < wanted) atomic_fetch_add(&control->injected, 1);
    return granted;
}

static int no_room(const char *path) {
    if (atomic_load(&control->space_left) != 0 || !met(path)) return 0;
    atomic_fetch_add(&control->injected, 1);
    errno = ENOSPC;
    return 1;
}

static void be_slow(void) {
    static _Atomic uint64_t state = 0x9e3779b97f4a7c15ULL;
    uint64_t low = atomic_load(&control->sync_us_min), high = atomic_load(&control->sync_us_max);
    if (!high) return;
    uint64_t next = atomic_fetch_add(&state, 0x9e3779b97f4a7c15ULL);
    next = (next ^ (next >> 30)) * 0xbf58476d1ce4e5b9ULL;
    uint64_t us = low + (next >> 33) % (high - low + 1);
    struct timespec pause = { (time_t)(us / 1000000), (long)(us % 1000000) * 1000 };
    atomic_fetch_add(&control->injected, 1);
    nanosleep(&pause, NULL);
}

/* ---- opening and closing ---- */

static int open_any(int dir, const char *path, int flags, mode_t mode) {
    char absolute[PATH_MAX];
    const char *below = ours(dir, path, absolute);
    if (!below) return (int)syscall(SYS_openat, dir, path, flags, mode);
    int writes = (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC));
    if (writes && refused(below)) return -1;
    if ((flags & O_TMPFILE) == O_TMPFILE) die("an unnamed file below its folder");
    pthread_mutex_lock(&lock);
    struct stat found;
    int there = stat(absolute, &found) == 0;
    int fd;
    if ((flags & O_CREAT) && !there) {
        if (no_room(below)) {
            pthread_mutex_unlock(&lock);
            return -1;
        }
        struct record *record = begin_record(CREATE, 0, 0, below, NULL, NULL, 0, 0);
        fd = (int)syscall(SYS_openat, dir, path, flags, mode);
        int error = errno;
        if (fd >= 0 && fstat(fd, &found) == 0) record->inode = found.st_ino;
        settle(record, fd >= 0);
        errno = error;
    } else if ((flags & O_TRUNC) && there && S_ISREG(found.st_mode)) {
        struct record *record = begin_record(TRUNCATE, found.st_ino, 0, NULL, NULL, NULL, 0, 0);
        fd = (int)syscall(SYS_openat, dir, path, flags, mode);
        int error = errno;
        settle(record, fd >= 0);
        errno = error;
    } else {
        fd = (int)syscall(SYS_openat, dir, path, flags, mode);
    }
    if (fd >= 0) remember(fd, below);
    pthread_mutex_unlock(&lock);
    return fd;
}

#define MODE_OF(flags, mode)                                                                                          \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {                                                                           \
        va_list list;                                                                                                  \
        va_start(list, flags);                                                                                         \
        mode = va_arg(list, mode_t);                                                                                   \
        va_end(list);                                                                                                  \
    }
int open(const char *path, int flags, ...) {
    mode_t mode = 0;
    MODE_OF(flags, mode)
    return open_any(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    mode_t mode = 0;
    MODE_OF(flags, mode)
    return open_any(AT_FDCWD, path, flags, mode);
}
int openat(int dir, const char *path, int flags, ...) {
    mode_t mode = 0;
    MODE_OF(flags, mode)
    return open_any(dir, path, flags, mode);
}
int openat64(int dir, const char *path, int flags, ...) {
    mode_t mode = 0;
    MODE_OF(flags, mode)
    return open_any(dir, path, flags, mode);
}
int creat(const char *path, mode_t mode) { return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

int close(int fd) {
    forget(fd);
    return (int)syscall(SYS_close, fd);
}
int dup(int fd) {
    int to = (int)syscall(SYS_dup, fd);
    copy(fd, to);
    return to;
}
int dup2(int fd, int onto) {
    if (fd != onto) forget(onto);
    int to = fd == onto ? fcntl(fd, F_GETFD) < 0 ? -1 : fd : (int)syscall(SYS_dup3, fd, onto, 0);
    if (fd != onto) copy(fd, to);
    return to;
}
int dup3(int fd, int onto, int flags) {
    forget(onto);
    int to = (int)syscall(SYS_dup3, fd, onto, flags);
    copy(fd, to);
    return to;
}
static int control_file(int fd, int command, long argument) {
    int to = (int)syscall(SYS_fcntl, fd, command, argument);
    if (command == F_DUPFD || command == F_DUPFD_CLOEXEC) copy(fd, to);
    return to;
}
int fcntl(int fd, int command, ...) {
    va_list list;
    va_start(list, command);
    long argument = va_arg(list, long);
    va_end(list);
    return control_file(fd, command, argument);
}
int fcntl64(int fd, int command, ...) {
    va_list list;
    va_start(list, command);
    long argument = va_arg(list, long);
    va_end(list);
    return control_file(fd, command, argument);
}

/* ---- writing ---- */

static ssize_t write_any(int fd, struct open_file *file, const struct iovec *parts, int count, off_t offset) {
    size_t wanted = 0;
    for (int n = 0; n < count; n++) wanted += parts[n].iov_len;
    if (refused(file->path)) return -1;
    pthread_mutex_lock(&lock);
    size_t granted = room_for(file->path, wanted);
    if (granted == 0 && wanted > 0) {
        pthread_mutex_unlock(&lock);
        errno = ENOSPC;
        return -1;
    }
    off_t at = offset;
    struct stat found;
    if (offset < 0) {
        int flags = (int)syscall(SYS_fcntl, fd, F_GETFL, 0);
        if ((flags & O_APPEND) && fstat(fd, &found) == 0) at = found.st_size;
        else at = (off_t)syscall(SYS_lseek, fd, 0, SEEK_CUR);
    }
    struct record *record = begin_record(WRITE, file->inode, (uint64_t)at, NULL, NULL, parts, count, granted);
    /* From the copy in the log: the caller's memory and what is recorded are the same bytes. */
    const unsigned char *bytes = (const unsigned char *)(record + 1);
    ssize_t written = offset < 0 ? syscall(SYS_write, fd, bytes, granted)
                                 : syscall(SYS_pwrite64, fd, bytes, granted, offset);
    int error = errno;
    if (written >= 0) record->data_length = (uint64_t)written;
    settle(record, written >= 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return written;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    struct open_file *file = file_of(fd);
    if (!file) return syscall(SYS_write, fd, bytes, length);
    struct iovec part = { (void *)bytes, length };
    return write_any(fd, file, &part, 1, -1);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    struct open_file *file = file_of(fd);
    return file ? write_any(fd, file, parts, count, -1) : syscall(SYS_writev, fd, parts, count);
}
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
    struct open_file *file = file_of(fd);
    if (!file) return syscall(SYS_pwrite64, fd, bytes, length, offset);
    struct iovec part = { (void *)bytes, length };
    return write_any(fd, file, &part, 1, offset);
}
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) { return pwrite64(fd, bytes, length, offset); }
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
    struct open_file *file = file_of(fd);
    if (file) return write_any(fd, file, parts, count, offset);
    return syscall(SYS_pwritev, fd, parts, count, (long)offset, (long)((uint64_t)offset >> 32));
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    return pwritev64(fd, parts, count, offset);
}
/* Callers fall back to reading and writing, which is seen. */
ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t length, unsigned flags) {
    if (file_of(out)) {
        errno = EXDEV;
        return -1;
    }
    return syscall(SYS_copy_file_range, in, in_at, out, out_at, length, flags);
}
ssize_t sendfile64(int out, int in, off64_t *offset, size_t count) {
    if (file_of(out)) {
        errno = EINVAL;
        return -1;
    }
    return syscall(SYS_sendfile, out, in, offset, count);
}
ssize_t sendfile(int out, int in, off_t *offset, size_t count) { return sendfile64(out, in, offset, count); }

static int truncate_any(int fd, off64_t size) {
    struct open_file *file = file_of(fd);
    if (!file) return (int)syscall(SYS_ftruncate, fd, size);
    if (refused(file->path)) return -1;
    pthread_mutex_lock(&lock);
    struct record *record = begin_record(TRUNCATE, file->inode, (uint64_t)size, NULL, NULL, NULL, 0, 0);
    int done = (int)syscall(SYS_ftruncate, fd, size);
    int error = errno;
    settle(record, done == 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}
int ftruncate(int fd, off_t size) { return truncate_any(fd, size); }
int ftruncate64(int fd, off64_t size) { return truncate_any(fd, size); }

/* ---- syncing ---- */

static int sync_any(int fd, long number) {
    struct open_file *file = file_of(fd);
    if (!file) return (int)syscall(number, fd);
    uint64_t inode = file->inode;
    pthread_mutex_lock(&lock);
    uint64_t covers = atomic_load(&head->settled);
    pthread_mutex_unlock(&lock);
    be_slow();
    uint64_t error = atomic_load(&control->sync_error);
    if (error && met(file->path)) {
        atomic_fetch_add(&control->injected, 1);
        errno = (int)error;
        return -1;
    }
    if (file->liar) {
        atomic_fetch_add(&control->injected, 1);
        return 0;
    }
    pthread_mutex_lock(&lock);
    settle(begin_record(SYNC, inode, covers, NULL, NULL, NULL, 0, 0), 1);
    pthread_mutex_unlock(&lock);
    return 0;
}
int fsync(int fd) { return sync_any(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_any(fd, SYS_fdatasync); }
int sync_file_range(int fd, off64_t offset, off64_t length, unsigned flags) {
    (void)offset, (void)length, (void)flags;
    if (!file_of(fd)) return (int)syscall(SYS_sync_file_range, fd, offset, length, flags);
    return 0;
}

/* ---- names ---- */

static int change(enum kind kind, const char *from, const char *to, long number, long a, const char *path, long b,
                  const char *other, long c, const char *at) {
    if (refused(from) || (kind == MKDIR && no_room(from))) return -1;
    pthread_mutex_lock(&lock);
    struct record *record = begin_record(kind, 0, 0, from, to, NULL, 0, 0);
    int done = other ? (int)syscall(number, a, path, b, other, c) : (int)syscall(number, a, path, b);
    int error = errno;
    struct stat found;
    if (done == 0 && at && lstat(at, &found) == 0) record->inode = found.st_ino;
    settle(record, done == 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}
int mkdirat(int dir, const char *path, mode_t mode) {
    char at[PATH_MAX];
    const char *below = ours(dir, path, at);
    if (!below) return (int)syscall(SYS_mkdirat, dir, path, mode);
    return change(MKDIR, below, NULL, SYS_mkdirat, dir, path, mode, NULL, 0, at);
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }
int unlinkat(int dir, const char *path, int flags) {
    char at[PATH_MAX];
    const char *below = ours(dir, path, at);
    if (!below) return (int)syscall(SYS_unlinkat, dir, path, flags);
    return change(flags & AT_REMOVEDIR ? RMDIR : UNLINK, below, NULL, SYS_unlinkat, dir, path, flags, NULL, 0, NULL);
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
static int two(enum kind kind, long number, int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    char from_at[PATH_MAX], to_at[PATH_MAX];
    const char *from_below = ours(from_dir, from, from_at), *to_below = ours(to_dir, to, to_at);
    if (!from_below && !to_below) return (int)syscall(number, from_dir, from, to_dir, to, flags);
    if (!from_below || !to_below) die("a name was moved into or out of its folder");
    return change(kind, from_below, to_below, number, from_dir, from, to_dir, to, flags, to_at);
}
int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    return two(RENAME, SYS_renameat2, from_dir, from, to_dir, to, flags);
}
int renameat(int from_dir, const char *from, int to_dir, const char *to) {
    return renameat2(from_dir, from, to_dir, to, 0);
}
int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }
int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) {
    return two(LINK, SYS_linkat, from_dir, from, to_dir, to, (unsigned)flags);
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

/* ---- the wall clock ---- */

static int64_t shift(void) { return control ? atomic_load(&control->clock_offset_ns) : 0; }

int clock_gettime(clockid_t clock, struct timespec *now) {
    int done = real_clock ? real_clock(clock, now) : (int)syscall(SYS_clock_gettime, clock, now);
    if (done == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t shifted = (int64_t)now->tv_sec * 1000000000 + now->tv_nsec + shift();
        now->tv_sec = shifted / 1000000000;
        now->tv_nsec = shifted % 1000000000;
    }
    return done;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    struct timespec exact;
    if (clock_gettime(CLOCK_REALTIME, &exact) != 0) return -1;
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *into) {
    struct timespec exact;
    if (clock_gettime(CLOCK_REALTIME, &exact) != 0) return (time_t)-1;
    if (into) *into = exact.tv_sec;
    return exact.tv_sec;
}
