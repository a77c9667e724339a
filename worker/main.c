/* drover-worker - a member of the fleet. */
#include "worker/program.h"

int main(int argc, char **argv)
{
	return cli_main(worker_program(), argc, argv, NULL);
}
