#include "producer/fleet.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"
#include "redis/redis_sync.h"

#define REDIS_START_MS 10000
#define FAST_MS 3000 /* who ends sooner than this after its start did not really run */
#define FAST_MAX 5   /* such ends in a row until we give up */
#define TAIL_BYTES 2000

static uint64_t now_ms(void)
{
	return clock_now_ms(clock_system());
}

static void say(const struct fleet *f, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void say(const struct fleet *f, const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	f->o.say(f->o.arg, line);
}

/* ------------------------------------------------------------ programs */

static bool in_path(const char *name, char *out, size_t size)
{
	const char *path = getenv("PATH");

	for (const char *p = path != NULL ? path : "/usr/bin:/bin"; *p != '\0';) {
		size_t n = strcspn(p, ":");

		if (n > 0 && (size_t)snprintf(out, size, "%.*s/%s", (int)n, p, name) < size && access(out, X_OK) == 0)
			return true;
		p += n + (p[n] == ':');
	}
	return false;
}

static int find_programs(struct fleet *f, struct err *err)
{
	ssize_t n = readlink("/proc/self/exe", f->worker_path, sizeof(f->worker_path) - sizeof("drover-worker"));
	char *slash;

	f->worker_path[n > 0 ? n : 0] = '\0';
	slash = strrchr(f->worker_path, '/');
	if (slash != NULL)
		memcpy(slash + 1, "drover-worker", sizeof("drover-worker")); /* the room was left for it */
	if ((slash == NULL || access(f->worker_path, X_OK) != 0) && !in_path("drover-worker", f->worker_path, sizeof(f->worker_path)))
		return err_set(err, ST_NOT_FOUND, "drover-worker is neither beside drover nor in PATH");
	if (f->o.redis_url == NULL && !in_path("redis-server", f->redis_path, sizeof(f->redis_path)) &&
	    !in_path("valkey-server", f->redis_path, sizeof(f->redis_path)))
		return err_set(
			err, ST_NOT_FOUND,
			"redis-server is not in PATH: install it (apt install redis-server), or set REDIS_URL to a Redis that runs already");
	return 0;
}

/* ------------------------------------------------------------ the directory */

/* Flat, and made by us: sockets and logs. */
static void remove_directory(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;

	if (d != NULL) {
		while ((e = readdir(d)) != NULL)
			if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
				unlinkat(dirfd(d), e->d_name, 0);
		closedir(d);
	}
	rmdir(path);
}

static int make_directory(struct fleet *f, struct err *err)
{
	const char *tmp = getenv("TMPDIR");

	/* The path of a Unix socket has to fit into 107 bytes. */
	if (tmp == NULL || tmp[0] != '/' || strlen(tmp) > 60)
		tmp = "/tmp";
	snprintf(f->dir, sizeof(f->dir), "%s/drover-run-XXXXXX", tmp);
	if (mkdtemp(f->dir) == NULL) {
		f->dir[0] = '\0';
		return err_set(err, ST_IO, "cannot make a directory in %s: %s", tmp, strerror(errno));
	}
	return 0;
}

/* ------------------------------------------------------------ the watchdog */

static void watch(const struct fleet *f, int pipe_end)
{
	char byte;
	sigset_t all;

	/* It must outlive whatever ends us: a terminal's hang-up, a signal to the group. */
	setsid();
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	while (read(pipe_end, &byte, 1) < 0 && errno == EINTR)
		;
	/* Redis may be in the middle of dying, and make its socket's neighbours: once more after a moment. */
	for (int i = 0; i < 20 && !f->o.keep && access(f->dir, F_OK) == 0; i++) {
		remove_directory(f->dir);
		clock_sleep_ms(50, NULL);
	}
	_exit(0);
}

static int start_watchdog(struct fleet *f, struct err *err)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) != 0)
		return err_set(err, ST_IO, "cannot make a pipe: %s", strerror(errno));
	f->watchdog = fork();
	if (f->watchdog < 0) {
		close(ends[0]);
		close(ends[1]);
		f->watchdog = 0;
		return err_set(err, ST_IO, "cannot start a process: %s", strerror(errno));
	}
	if (f->watchdog == 0) {
		/* Nothing of ours may be held open by it: neither connections nor the terminal. */
		for (int fd = 0; fd < 1024; fd++)
			if (fd != ends[0])
				close(fd);
		watch(f, ends[0]);
	}
	close(ends[0]);
	f->watchdog_pipe = ends[1];
	return 0;
}

/* ------------------------------------------------------------ children */

/* In the child, after fork(): die with the parent, keep off the terminal's signals, write to @log. */
static void become(const struct fleet *f, pid_t parent, const char *log, char *const *argv)
{
	sigset_t none;
	int null = open("/dev/null", O_RDONLY);
	int out = log != NULL ? open(log, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127); /* it died before the line above */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (null >= 0)
		dup2(null, STDIN_FILENO);
	if (out >= 0) {
		dup2(out, STDOUT_FILENO);
		dup2(out, STDERR_FILENO);
	}
	/* By the environment, where ps does not show it. */
	if (f->o.database_url[0] != '\0') {
		unsetenv("DATABASE_URL_FILE");
		setenv("DATABASE_URL", f->o.database_url, 1);
	}
	unsetenv("REDIS_URL_FILE");
	setenv("REDIS_URL", f->redis_url, 1);
	execv(argv[0], argv);
	fprintf(stderr, "cannot run %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static int start(struct fleet *f, struct fleet_child *c, const char *log, char *const *argv, struct err *err)
{
	pid_t parent = getpid();
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return err_set(err, ST_IO, "cannot start a process: %s", strerror(errno));
	if (pid == 0)
		become(f, parent, log, argv);
	c->pid = pid;
	c->started_ms = now_ms();
	return 0;
}

static void log_path(const struct fleet *f, const struct fleet_child *c, char *out, size_t size)
{
	if (c == &f->redis)
		snprintf(out, size, "%s/redis.log", f->dir);
	else
		snprintf(out, size, "%s/worker-%d.log", f->dir, (int)(c - f->workers) + 1);
}

static int start_redis(struct fleet *f, struct err *err)
{
	char log[160], socket[160];
	char *const argv[] = { f->redis_path, "--port",      "0",  "--unixsocket", socket,    "--unixsocketperm",
			       "700",         "--save",      "",   "--appendonly", "no",      "--maxmemory-policy",
			       "noeviction",  "--daemonize", "no", "--loglevel",   "warning", "--dir",
			       f->dir,        NULL };

	log_path(f, &f->redis, log, sizeof(log));
	snprintf(socket, sizeof(socket), "%s/redis.sock", f->dir);
	return start(f, &f->redis, log, argv, err);
}

static int start_worker(struct fleet *f, struct fleet_child *c, struct err *err)
{
	char log[160], name[64], lanes[16];
	char *const argv[] = {
		f->worker_path, "--name", name, "--concurrency", lanes, "--migration", (char *)(uintptr_t)f->o.migration, NULL
	};

	log_path(f, c, log, sizeof(log));
	snprintf(name, sizeof(name), "run-%d-%d", (int)getpid(), (int)(c - f->workers) + 1);
	snprintf(lanes, sizeof(lanes), "%u", f->o.concurrency);
	return start(f, c, f->o.verbose ? NULL : log, argv, err);
}

/* ------------------------------------------------------------ opening */

static int wait_for_redis(struct fleet *f, struct err *err)
{
	uint64_t until = now_ms() + REDIS_START_MS;
	struct err why = ERR_INIT;

	while (now_ms() < until) {
		struct redis_sync *r = NULL;
		int status, rc = redis_sync_try_open(&r, f->redis_url, NULL, &why);

		redis_sync_free(r);
		if (rc == 0)
			return 0;
		if (rc != ST_DISCONNECTED && rc != ST_TIMEOUT)
			break;
		if (waitpid(f->redis.pid, &status, WNOHANG) == f->redis.pid) {
			f->redis.pid = 0;
			return err_set(err, ST_IO, "%s ended as soon as it was started", f->redis_path);
		}
		clock_sleep_ms(20, NULL);
	}
	return err_set(err, ST_IO, "the private Redis does not answer: %s", why.msg);
}

int fleet_open(struct fleet *f, const struct fleet_options *o, struct err *err)
{
	int rc;

	memset(f, 0, sizeof(*f));
	f->o = *o;
	f->watchdog_pipe = -1;
	rc = find_programs(f, err);
	if (rc == 0)
		rc = make_directory(f, err);
	if (rc == 0)
		rc = start_watchdog(f, err);
	if (rc == 0 && o->redis_url != NULL) {
		if ((size_t)snprintf(f->redis_url, sizeof(f->redis_url), "%s", o->redis_url) >= sizeof(f->redis_url))
			rc = err_set(err, ST_INPUT, "the Redis URL is longer than %zu bytes", sizeof(f->redis_url) - 1);
	} else if (rc == 0) {
		snprintf(f->redis_url, sizeof(f->redis_url), "unix://%s/redis.sock", f->dir);
		/* Of another Redis: this one asks for none. */
		unsetenv("REDIS_PASSWORD");
		unsetenv("REDIS_PASSWORD_FILE");
		rc = start_redis(f, err);
		if (rc == 0)
			rc = wait_for_redis(f, err);
	}
	if (rc != 0)
		fleet_close(f);
	return rc;
}

int fleet_start_workers(struct fleet *f, struct err *err)
{
	int rc = 0;

	for (unsigned i = 0; i < f->o.workers && rc == 0; i++)
		rc = start_worker(f, &f->workers[i], err);
	return rc;
}

/* ------------------------------------------------------------ looking after them */

/* The end of a child's log, in one line. */
static void last_words(const struct fleet *f, const struct fleet_child *c, char *out, size_t size)
{
	char path[160];
	FILE *file;
	size_t n = 0;

	log_path(f, c, path, sizeof(path));
	file = fopen(path, "re");
	if (file != NULL) {
		(void)fseek(file, -(long)(size - 1), SEEK_END); /* a shorter file is read from its start, where it is */
		n = fread(out, 1, size - 1, file);
		fclose(file);
	}
	while (n > 0 && out[n - 1] == '\n')
		n--;
	out[n] = '\0';
	for (char *p = out; *p != '\0'; p++)
		if (*p == '\n' || *p == '\r')
			*p = ' ';
}

static int ended(struct fleet *f, struct fleet_child *c, int status, struct err *err)
{
	const char *what = c == &f->redis ? "the private Redis" : "a worker";
	char words[TAIL_BYTES / 4];
	uint64_t now = now_ms();

	c->pid = 0;
	c->fast = now - c->started_ms < FAST_MS ? c->fast + 1 : 0;
	c->again_ms = now + 200 * (uint64_t)(c->fast + 1);
	if (c->fast >= FAST_MAX || (WIFEXITED(status) && WEXITSTATUS(status) == 2)) {
		last_words(f, c, words, sizeof(words));
		return err_set(err, ST_IO, "%s ends as soon as it is started: %s", what, words[0] != '\0' ? words : "it said nothing");
	}
	if (WIFSIGNALED(status))
		say(f, "%s was ended by signal %d (%s): starting it anew", what, WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		say(f, "%s ended with status %d: starting it anew", what, WEXITSTATUS(status));
	return 0;
}

static int look_after(struct fleet *f, struct fleet_child *c, struct err *err)
{
	int status, rc = 0;

	if (c->pid > 0 && waitpid(c->pid, &status, WNOHANG) == c->pid)
		rc = ended(f, c, status, err);
	if (rc != 0 || c->pid > 0 || now_ms() < c->again_ms)
		return rc;
	return c == &f->redis ? start_redis(f, err) : start_worker(f, c, err);
}

int fleet_tick(struct fleet *f, struct err *err)
{
	int rc = f->redis.started_ms > 0 ? look_after(f, &f->redis, err) : 0;

	for (unsigned i = 0; i < f->o.workers && rc == 0; i++)
		if (f->workers[i].started_ms > 0)
			rc = look_after(f, &f->workers[i], err);
	return rc;
}

/* ------------------------------------------------------------ the end */

/* Signal all, wait for all within @ms together; what is still there then is killed. */
static void end_children(struct fleet_child *children, unsigned n, uint64_t ms)
{
	uint64_t until = now_ms() + ms;

	for (unsigned i = 0; i < n; i++)
		if (children[i].pid > 0)
			kill(children[i].pid, SIGTERM);
	for (unsigned i = 0; i < n; i++) {
		int status;

		while (children[i].pid > 0) {
			pid_t pid = waitpid(children[i].pid, &status, WNOHANG);

			if (pid == children[i].pid || (pid < 0 && errno != EINTR)) {
				children[i].pid = 0;
			} else if (now_ms() >= until) {
				kill(children[i].pid, SIGKILL);
				until = UINT64_MAX; /* it cannot be refused */
			} else {
				clock_sleep_ms(5, NULL);
			}
		}
		if (until == UINT64_MAX)
			until = now_ms();
	}
}

void fleet_close(struct fleet *f)
{
	int status;

	end_children(f->workers, f->o.workers, FLEET_DRAIN_MS);
	end_children(&f->redis, 1, 3000);
	if (f->dir[0] != '\0') {
		if (f->o.keep)
			say(f, "the logs are kept in %s", f->dir);
		else
			remove_directory(f->dir);
	}
	if (f->watchdog_pipe >= 0)
		close(f->watchdog_pipe);
	if (f->watchdog > 0)
		while (waitpid(f->watchdog, &status, 0) < 0 && errno == EINTR)
			;
	memset(f, 0, sizeof(*f));
	f->watchdog_pipe = -1;
}
