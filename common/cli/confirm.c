#include "cli/confirm.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

int cli_confirm(const char *question, bool yes, struct err *err)
{
	char answer[64];

	if (yes)
		return 0;
	if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
		return err_set(err, ST_REFUSED, "%s Nobody is here to be asked: give --yes if that is meant", question);
	fprintf(stderr, "%s [y/N] ", question);
	fflush(stderr);
	if (fgets(answer, sizeof(answer), stdin) == NULL) {
		fputc('\n', stderr);
		return err_set(err, ST_REFUSED, "not confirmed: nothing was done");
	}
	answer[strcspn(answer, "\r\n")] = '\0';
	if (strcasecmp(answer, "y") == 0 || strcasecmp(answer, "yes") == 0)
		return 0;
	return err_set(err, ST_REFUSED, "not confirmed: nothing was done");
}
