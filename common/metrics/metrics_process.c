/* metrics_process.c - what a process tells of itself. What cannot be read is left out. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "metrics/metrics.h"

#define STAT_START 20 /* fields of /proc/self/stat after the name's bracket: start time, in ticks since the boot */
#define STAT_PAGES 22 /* resident pages */

/* The numbers behind the name, which may hold blanks and brackets. */
static bool read_stat(unsigned long long *ret_start, unsigned long long *ret_pages)
{
	char text[1024], *p, *save = NULL;
	FILE *f = fopen("/proc/self/stat", "re");
	size_t n = f != NULL ? fread(text, 1, sizeof(text) - 1, f) : 0;
	unsigned field = 0;

	if (f != NULL)
		fclose(f);
	text[n] = '\0';
	p = strrchr(text, ')');
	for (p = p != NULL ? strtok_r(p + 1, " ", &save) : NULL; p != NULL; p = strtok_r(NULL, " ", &save)) {
		field++;
		if (field == STAT_START)
			*ret_start = strtoull(p, NULL, 10);
		if (field == STAT_PAGES)
			*ret_pages = strtoull(p, NULL, 10);
	}
	return field >= STAT_PAGES;
}

static double seconds(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double time_of(const struct timeval *t)
{
	return (double)t->tv_sec + (double)t->tv_usec / 1e6;
}

static unsigned count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	if (dir == NULL)
		return 0;
	for (const struct dirent *e = readdir(dir); e != NULL; e = readdir(dir))
		n += e->d_name[0] != '.';
	closedir(dir);
	return n - 1; /* the folder itself */
}

void metrics_add_process(struct metrics_text *t)
{
	unsigned long long start = 0, pages = 0;
	bool known = read_stat(&start, &pages);
	double ticks = (double)sysconf(_SC_CLK_TCK), begun;
	struct rusage used;
	struct rlimit fds;

	if (known) {
		begun = seconds(CLOCK_REALTIME) - seconds(CLOCK_BOOTTIME) + (double)start / ticks;
		metrics_add(t, METRIC_PROCESS_START, (double)(long long)(begun * 100) / 100);
	}
	if (getrusage(RUSAGE_SELF, &used) == 0)
		metrics_add(t, METRIC_PROCESS_CPU, time_of(&used.ru_utime) + time_of(&used.ru_stime));
	if (known)
		metrics_add(t, METRIC_PROCESS_MEMORY, (double)pages * (double)sysconf(_SC_PAGESIZE));
	metrics_add(t, METRIC_PROCESS_FDS, count_fds());
	if (getrlimit(RLIMIT_NOFILE, &fds) == 0)
		metrics_add(t, METRIC_PROCESS_MAX_FDS, (double)fds.rlim_cur);
}
