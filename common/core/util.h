/*
 * util.h - the few macros that every module uses.
 */
#ifndef DROVER_CORE_UTIL_H
#define DROVER_CORE_UTIL_H

#include <stddef.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* The struct that embeds `member`, given a pointer to the member. */
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* The result says whether it worked: ignoring it does not compile. */
#define MUST_CHECK __attribute__((warn_unused_result))

#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

/* Runs `fn(&variable)` when the variable goes out of scope; for locals that no callback can see. */
#define CLEANUP(fn) __attribute__((cleanup(fn)))

#endif
