/* drover - the console: produces, shows, controls, replays. */
#include "producer/console.h"

int main(int argc, char **argv)
{
	struct console con;
	int status;

	console_init(&con);
	status = cli_main(console_program(), argc, argv, &con);
	console_close(&con);
	return status;
}
