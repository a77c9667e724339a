/*
 * driver.c - runs a fuzz target without libFuzzer.
 *
 *   fuzz_NAME [-runs=N] [-seed=N] [-max_total_time=SECONDS] [FILE|DIRECTORY ...]
 *
 * Replays every file given, then mutates them at random from a fixed seed, so
 * that a run can be repeated. A crash leaves its input in `crash-input` of the
 * current directory. The options are a subset of libFuzzer's.
 */
#include <dirent.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "core/util.h"

#define INPUT_MAX_BYTES 16384
#define SEEDS_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__asan_default_options(void);
const char *__ubsan_default_options(void);

struct seed {
	uint8_t *data;
	size_t size;
};

struct driver {
	struct seed seeds[SEEDS_MAX];
	size_t nr_seeds;
	uint64_t random;      /* state of xorshift; never 0 */
	const uint8_t *input; /* the one that runs, for the crash file */
	size_t input_size;
};

/* One per process: a signal handler gets no argument. */
static struct driver driver = { .random = 0x9e3779b97f4a7c15u };

static size_t pick(size_t n)
{
	driver.random ^= driver.random << 13;
	driver.random ^= driver.random >> 7;
	driver.random ^= driver.random << 17;
	return n == 0 ? 0 : (size_t)(driver.random % n);
}

/* The sanitizers ask these; an abort is what both can end in, and what we can hear. */
const char *__asan_default_options(void)
{
	return "abort_on_error=1";
}

const char *__ubsan_default_options(void)
{
	return "abort_on_error=1:print_stacktrace=1";
}

static void save_input(int number)
{
	FILE *f = fopen("crash-input", "wb");

	if (f != NULL) {
		fwrite(driver.input, 1, driver.input_size, f);
		fclose(f);
		fprintf(stderr, "the input is in ./crash-input (%zu bytes)\n", driver.input_size);
	}
	signal(number, SIG_DFL);
	raise(number);
}

/* A copy of the exact size on the heap, so that ASan sees a read past its end. */
static void run_one(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size);

	if (size > 0)
		memcpy(copy, data, size);
	driver.input = copy;
	driver.input_size = size;
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

static size_t mutate(uint8_t *p, size_t size)
{
	static const uint8_t edges[] = { 0x00, 0x01, 0x7f, 0x80, 0xc0, 0xff, '\'', '"', ';', '\n', '$', ':', '-' };
	size_t at = pick(size + 1), n = 1 + pick(8);

	switch (pick(5)) {
	case 0: /* one byte, any value */
		if (at < size)
			p[at] = (uint8_t)pick(256);
		break;
	case 1: /* one byte, a value that parsers trip over */
		if (at < size)
			p[at] = edges[pick(ARRAY_SIZE(edges))];
		break;
	case 2: /* bytes taken out */
		n = n > size - at ? size - at : n;
		memmove(p + at, p + at + n, size - at - n);
		size -= n;
		break;
	case 3: /* bytes put in */
		n = n > INPUT_MAX_BYTES - size ? INPUT_MAX_BYTES - size : n;
		memmove(p + at + n, p + at, size - at);
		for (size_t i = 0; i < n; i++)
			p[at + i] = (uint8_t)pick(256);
		size += n;
		break;
	default: /* the rest from another seed */
		if (driver.nr_seeds > 0) {
			const struct seed *s = &driver.seeds[pick(driver.nr_seeds)];
			size_t from = pick(s->size + 1);

			n = s->size - from;
			n = n > INPUT_MAX_BYTES - at ? INPUT_MAX_BYTES - at : n;
			memcpy(p + at, s->data + from, n);
			size = at + n;
		}
	}
	return size;
}

static void add_file(const char *path)
{
	struct seed *s = &driver.seeds[driver.nr_seeds];
	FILE *f = fopen(path, "rb");

	if (f == NULL || driver.nr_seeds == SEEDS_MAX) {
		fprintf(stderr, "cannot read '%s', or more than %d seeds\n", path, SEEDS_MAX);
		exit(2);
	}
	s->data = malloc(INPUT_MAX_BYTES);
	s->size = fread(s->data, 1, INPUT_MAX_BYTES, f);
	driver.nr_seeds++;
	fclose(f);
}

static void add_path(const char *path)
{
	struct dirent **entries;
	struct stat st;
	char child[4096];
	int n;

	if (stat(path, &st) != 0)
		return; /* a target without seeds starts from nothing */
	if (!S_ISDIR(st.st_mode)) {
		add_file(path);
		return;
	}
	n = scandir(path, &entries, NULL, alphasort); /* sorted: every run takes the same way */
	for (int i = 0; i < n; i++) {
		snprintf(child, sizeof(child), "%s/%s", path, entries[i]->d_name);
		if (entries[i]->d_name[0] != '.')
			add_file(child);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
}

int main(int argc, char **argv)
{
	static uint8_t scratch[INPUT_MAX_BYTES];
	long runs = 10000, seconds = 60, done = 0;
	time_t end;

	for (int i = 1; i < argc; i++) {
		if (strncmp(argv[i], "-runs=", 6) == 0)
			runs = atol(argv[i] + 6);
		else if (strncmp(argv[i], "-max_total_time=", 16) == 0)
			seconds = atol(argv[i] + 16);
		else if (strncmp(argv[i], "-seed=", 6) == 0)
			driver.random = strtoull(argv[i] + 6, NULL, 10) | 1;
		else if (argv[i][0] != '-')
			add_path(argv[i]);
	}
	signal(SIGABRT, save_input);
	run_one(scratch, 0);
	for (size_t i = 0; i < driver.nr_seeds; i++)
		run_one(driver.seeds[i].data, driver.seeds[i].size);
	end = time(NULL) + seconds;
	for (; done < runs && time(NULL) < end; done++) {
		size_t size = 0;

		if (driver.nr_seeds > 0) {
			const struct seed *s = &driver.seeds[pick(driver.nr_seeds)];

			memcpy(scratch, s->data, s->size);
			size = s->size;
		}
		for (size_t n = 1 + pick(6); n > 0; n--)
			size = mutate(scratch, size);
		run_one(scratch, size);
	}
	for (size_t i = 0; i < driver.nr_seeds; i++)
		free(driver.seeds[i].data);
	printf("%zu seeds, %ld mutations\n", driver.nr_seeds, done);
	return 0;
}
