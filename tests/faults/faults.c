/* Preloaded into the program by tests/it/support/fault_injection.rs: lets its disk and its clock fail on command.
 *
 * $FAULTS names a file with one order: "ID WHAT VALUE AFTER". Of the calls on the database's files that WHAT names, those
 * after the first AFTER fare as VALUE says; a new ID counts anew. An order that was carried out leaves $FAULTS.done.
 *
 *   write ERRNO   writes fail              read ERRNO   reads fail          slow MILLISECONDS   reads take as long
 *   sync  ERRNO   syncs fail               die  0       SIGKILL in place of a write, a sync or a cut
 *   clock SECONDS the wall clock is so far ahead (any clock, any number of calls)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

struct order {
	long id, value, after;
	char what[16];
};

static int read_order(struct order *order)
{
	char text[128];
	const char *path = getenv("FAULTS");
	long fd, length;
	int saved = errno;

	if (!path)
		return 0;
	fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		errno = saved;
		return 0;
	}
	length = syscall(SYS_read, fd, text, sizeof text - 1);
	syscall(SYS_close, fd);
	errno = saved;
	if (length <= 0)
		return 0;
	text[length] = 0;
	return sscanf(text, "%ld %15s %ld %ld", &order->id, order->what, &order->value, &order->after) == 4;
}

/* The database, its WAL and its index: what their names have in common. */
static int is_database(int fd)
{
	char link[32], path[4096];
	ssize_t length;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof path - 1);
	if (length < 0)
		return 0;
	path[length] = 0;
	return strstr(path, "bulla.db") != NULL;
}

static void leave_mark(void)
{
	char mark[4096];
	long fd;

	snprintf(mark, sizeof mark, "%s.done", getenv("FAULTS"));
	fd = syscall(SYS_openat, AT_FDCWD, mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0)
		syscall(SYS_close, fd);
}

/* Whether this call is one that `what` orders about; then `value` is the order's. */
static int ordered(const char *what, int fd, long *value)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static long id, count;
	struct order order;
	long nth;

	if (!read_order(&order) || strcmp(order.what, what) || !is_database(fd))
		return 0;
	pthread_mutex_lock(&lock);
	if (order.id != id) {
		id = order.id;
		count = 0;
	}
	nth = count++;
	pthread_mutex_unlock(&lock);
	if (nth < order.after)
		return 0;
	leave_mark();
	*value = order.value;
	return 1;
}

/* Whether a change of a file fails; errno is set then. */
static int fails(const char *what, int fd)
{
	long value;

	if (ordered("die", fd, &value))
		kill(getpid(), SIGKILL);
	if (!ordered(what, fd, &value))
		return 0;
	errno = (int)value;
	return 1;
}

static int reading_fails(int fd)
{
	long value;

	if (ordered("slow", fd, &value))
		usleep((useconds_t)value * 1000);
	if (!ordered("read", fd, &value))
		return 0;
	errno = (int)value;
	return 1;
}

ssize_t write(int fd, const void *bytes, size_t length)
{
	return fails("write", fd) ? -1 : syscall(SYS_write, fd, bytes, length);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at)
{
	return fails("write", fd) ? -1 : syscall(SYS_pwrite64, fd, bytes, length, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at)
{
	return pwrite(fd, bytes, length, at);
}

ssize_t read(int fd, void *bytes, size_t length)
{
	return reading_fails(fd) ? -1 : syscall(SYS_read, fd, bytes, length);
}

ssize_t pread(int fd, void *bytes, size_t length, off_t at)
{
	return reading_fails(fd) ? -1 : syscall(SYS_pread64, fd, bytes, length, at);
}

ssize_t pread64(int fd, void *bytes, size_t length, off64_t at)
{
	return pread(fd, bytes, length, at);
}

int ftruncate(int fd, off_t length)
{
	return fails("cut", fd) ? -1 : (int)syscall(SYS_ftruncate, fd, length);
}

int ftruncate64(int fd, off64_t length)
{
	return ftruncate(fd, length);
}

int fsync(int fd)
{
	return fails("sync", fd) ? -1 : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
	return fails("sync", fd) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

static long ahead(void)
{
	struct order order;

	return read_order(&order) && !strcmp(order.what, "clock") ? order.value : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	int failed = (int)syscall(SYS_clock_gettime, clock, now);

	if (!failed && clock == CLOCK_REALTIME)
		now->tv_sec += ahead();
	return failed;
}

int gettimeofday(struct timeval *now, void *zone)
{
	struct timespec exact;

	(void)zone;
	if (clock_gettime(CLOCK_REALTIME, &exact))
		return -1;
	now->tv_sec = exact.tv_sec;
	now->tv_usec = exact.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *now)
{
	struct timespec exact;

	if (clock_gettime(CLOCK_REALTIME, &exact))
		return -1;
	if (now)
		*now = exact.tv_sec;
	return exact.tv_sec;
}
