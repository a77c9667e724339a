/* What the terminal can do. */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli_private.h"
#include "cli/output.h"
#include "core/text.h"

unsigned cli_terminal_width(FILE *f)
{
	struct winsize size;
	uint64_t columns = 80;

	if (!isatty(fileno(f)))
		return 0;
	if (ioctl(fileno(f), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		return size.ws_col;
	/* A serial console does not know its size. */
	if (getenv("COLUMNS") == NULL || text_parse_u64(getenv("COLUMNS"), 20, 1000, &columns, NULL) != 0)
		columns = 80;
	return (unsigned)columns;
}

bool cli_use_color(const struct cli_call *call, FILE *f)
{
	const char *term = getenv("TERM");

	if (call != NULL && cli_has(call, "--no-color") && cli_flag(call, "--no-color"))
		return false;
	if (!cli_is_empty(getenv("NO_COLOR")) || cli_is_empty(term) || strcmp(term, "dumb") == 0)
		return false;
	return isatty(fileno(f)) != 0;
}

const char *out_style_on(enum out_style style, bool color)
{
	static const char *const sequences[] = {
		[OUT_PLAIN] = "",       [OUT_BOLD] = "\033[1m",   [OUT_DIM] = "\033[2m",
		[OUT_RED] = "\033[31m", [OUT_GREEN] = "\033[32m", [OUT_YELLOW] = "\033[33m",
	};

	return color ? sequences[style] : "";
}

const char *out_style_off(enum out_style style, bool color)
{
	return color && style != OUT_PLAIN ? "\033[0m" : "";
}
