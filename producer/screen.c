#include "producer/screen.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "cli/output.h"
#include "core/buf.h"
#include "core/util.h"

#define FRAME_MAX (1u << 20) /* bytes */
#define HEIGHT 24            /* of a terminal that does not know its own */

/* The alternate buffer, no cursor, no wrapping; and back. */
static const char enter_text[] = "\033[?1049h\033[?25l\033[?7l\033[H\033[2J", leave_text[] = "\033[?7h\033[?25h\033[?1049l";

/* What the handler of Ctrl-Z can reach. */
static struct termios before;
static bool has_before;
static volatile sig_atomic_t was_away;

static void put(const char *text, size_t n)
{
	while (n > 0) {
		ssize_t done = write(STDOUT_FILENO, text, n);

		if (done <= 0)
			return;
		text += done;
		n -= (size_t)done;
	}
}

/* What is typed is not shown in between; Ctrl-C stays what it is. */
static void begin(void)
{
	struct termios quiet;

	has_before = tcgetattr(STDIN_FILENO, &before) == 0;
	if (has_before) {
		quiet = before;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		tcsetattr(STDIN_FILENO, TCSANOW, &quiet);
	}
	put(enter_text, sizeof(enter_text) - 1);
}

static void end(void)
{
	put(leave_text, sizeof(leave_text) - 1);
	if (has_before)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
}

static void on_stop(int number)
{
	(void)number;
	end();
	raise(SIGSTOP);
	begin();
	was_away = 1;
}

void screen_enter(struct screen *s)
{
	struct sigaction stop = { .sa_handler = on_stop, .sa_flags = SA_RESTART };

	fflush(stdout);
	s->on = true;
	screen_size(s);
	begin();
	sigaction(SIGTSTP, &stop, NULL);
}

bool screen_size(struct screen *s)
{
	struct winsize size = { .ws_row = 0 };
	unsigned width = cli_terminal_width(stdout), height = HEIGHT;
	bool changed;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0)
		height = size.ws_row;
	changed = width != s->width || height != s->height || was_away;
	was_away = 0;
	s->width = width;
	s->height = height;
	return changed;
}

static unsigned lines_of(const char *text)
{
	unsigned n = 0;

	for (; *text != '\0'; text++)
		n += *text == '\n';
	return n;
}

void screen_draw(const struct screen *s, const char *text)
{
	CLEANUP(buf_free) struct buf frame = BUF_INIT(FRAME_MAX);
	unsigned lines = lines_of(text), room = s->height > 1 ? s->height - 1 : 1, shown = lines <= room ? lines : room - 1;

	buf_puts(&frame, "\033[H");
	for (unsigned i = 0; i < shown; i++) {
		size_t n = strcspn(text, "\n");

		buf_add(&frame, text, n);
		buf_puts(&frame, "\033[0m\033[K\r\n");
		text += n + (text[n] == '\n');
	}
	if (shown < lines)
		buf_printf(&frame, "... %u more lines\033[K", lines - shown);
	buf_puts(&frame, "\033[J");
	if (buf_ok(&frame))
		put(frame.data, frame.len);
}

void screen_leave(struct screen *s, const char *last)
{
	struct sigaction as_before = { .sa_handler = SIG_DFL };

	if (!s->on)
		return;
	sigaction(SIGTSTP, &as_before, NULL);
	s->on = false;
	end();
	if (last != NULL)
		fputs(last, stdout);
	fflush(stdout);
}
