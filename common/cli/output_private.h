/*
 * output_private.h - between the values and the rows of output.
 */
#ifndef DROVER_CLI_OUTPUT_PRIVATE_H
#define DROVER_CLI_OUTPUT_PRIVATE_H

#include "cli/output.h"

/* The next cell: @json is a JSON text, @human what people see; NULL for them: unknown. */
void out_put(struct out *o, const char *json, const char *human);

/* As text_add_printable(), but line ends stay. */
void out_add_lines(struct buf *out, const char *text);

#endif
