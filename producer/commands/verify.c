/* drover verify: the proof that no row is left, or the keys of those that are. */
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "cli/output.h"
#include "cli/progress.h"
#include "core/clock.h"
#include "core/text.h"
#include "producer/console.h"
#include "steward/verify.h"

#define KEYS_BYTES_MAX (16u << 20) /* of all keys that are shown */

static const struct cli_option options[] = {
	{ "--keys", .arg = "N", .type = CLI_U64, .def = "20", .max = 1000000, .help = "keys of rows that are left: show at most so many" },
	{ 0 },
};

static const struct cli_text exits[] = {
	{ "3", "not clean: rows are left" },
	{ 0 },
};

static const struct out_column columns[] = {
	{ "name", "migration", .type = OUT_STR },
	{ "clean", NULL, .type = OUT_BOOL },
	{ "verdict", NULL, .type = OUT_STR },
	{ "ledger_only", NULL, .type = OUT_BOOL, .where = OUT_ONLY_JSON },
	{ "scanned", "rows looked at", .type = OUT_INT },
	{ "pending", "rows left", .type = OUT_INT },
	{ "dead", "  dead letters", .type = OUT_INT },
	{ "ignored", "  forgotten", .type = OUT_INT },
	{ "waiting", "  in open batches", .type = OUT_INT },
	{ "raised", "  predicate fails", .type = OUT_INT },
	{ "limited", NULL, .type = OUT_BOOL, .where = OUT_ONLY_JSON },
	{ "scan_done", "scanned whole", .type = OUT_BOOL },
	{ "key_columns", NULL, .type = OUT_STR, .where = OUT_ONLY_JSON },
	{ "keys", NULL, .type = OUT_RAW_JSON, .where = OUT_ONLY_JSON },
	{ "keys_text", "keys", .type = OUT_STR, .below = true, .where = OUT_ONLY_HUMAN },
};

struct walk {
	struct buf json, text; /* the keys, for programs and for people */
	uint64_t keys;
	struct progress progress;
	struct progress_view view;
};

/* ["7"] as 7, ["a", "7"] as (a, 7). */
static void add_key(struct buf *out, const char *key_json)
{
	json_t *key = json_loads(key_json, 0, NULL);
	size_t n = json_array_size(key);

	for (size_t i = 0; i < n; i++)
		buf_printf(out, "%s%s", i > 0 ? ", " : n > 1 ? "(" : "", json_string_value(json_array_get(key, i)));
	buf_puts(out, n == 0 ? key_json : n > 1 ? ")" : "");
	json_decref(key);
}

/* A ceiling on bytes as well: keys can be of 8 kB each. */
static int on_key(void *arg, const char *key_json, struct err *err)
{
	struct walk *w = arg;

	(void)err;
	if (w->json.len + strlen(key_json) + 2 > KEYS_BYTES_MAX)
		return 0;
	buf_printf(&w->json, "%s%s", w->keys > 0 ? "," : "[", key_json);
	buf_puts(&w->text, w->keys > 0 ? ", " : "");
	add_key(&w->text, key_json);
	w->keys++;
	return 0;
}

static void on_progress(void *arg, uint64_t scanned, uint64_t estimated)
{
	struct walk *w = arg;
	const struct progress_counts counts = { .done = scanned, .total = estimated > scanned ? estimated : scanned, .share = -1 };

	progress_update(&w->progress, clock_now_ms(clock_system()), &counts);
	progress_view_show(&w->view, &w->progress);
}

/* What was shown, in words that claim no more than that. */
static void verdict(const struct verify_result *r, const char *name, struct buf *out)
{
	const char *limit = r->limited ? "; it was meant for a part of the table (--limit)" : "";
	uint64_t left = r->pending > r->ignored ? r->pending - r->ignored : r->waiting + r->dead;

	if (r->ledger_only && verify_clean(r))
		buf_printf(out, "covered by the ledger: every row that the scan found was changed once%s", limit);
	else if (verify_clean(r) && r->ignored > 0)
		buf_printf(out, "verified: no row is left but the %s that were forgotten", text_human_rows(r->ignored).s);
	else if (verify_clean(r))
		buf_puts(out, "verified: no row is left");
	else if (r->pending == 0 && !r->scan_done)
		buf_puts(out, "not through: the table is not scanned to its end");
	else
		buf_printf(out, "not clean: %s row%s left%s", text_human_rows(left).s, left == 1 ? " is" : "s are", limit);
	if (!verify_clean(r) && r->dead > 0)
		buf_printf(out, "; dead letters: drover failed %s", name);
	if (!verify_clean(r) && !r->ledger_only && left > r->dead + r->waiting)
		buf_printf(out, "; others are found by drover produce %s --wait", name);
}

static int report(const struct cli_call *call, const struct migration_ref *m, const struct verify_result *r, struct walk *w,
		  struct err *err)
{
	CLEANUP(buf_free) struct buf text = BUF_INIT(1000);
	CLEANUP(out_close) struct out out = { 0 };

	verdict(r, m->name, &text);
	buf_puts(&w->json, w->keys > 0 ? "]" : "[]");
	out_open(&out, call);
	out_kv(&out, columns, ARRAY_SIZE(columns));
	out_text(&out, m->name);
	out_bool(&out, verify_clean(r));
	out_text(&out, text.data);
	out_bool(&out, r->ledger_only);
	out_uint(&out, r->scanned);
	out_uint(&out, r->pending);
	out_uint(&out, r->dead);
	out_uint(&out, r->ignored);
	out_uint(&out, r->waiting);
	out_uint(&out, r->raised);
	out_bool(&out, r->limited);
	out_bool(&out, r->scan_done);
	out_text(&out, r->key_name);
	out_json(&out, w->json.data);
	if (w->keys == 0)
		out_null(&out);
	else
		out_textf(&out, "%s: %s%s", r->key_name, w->text.data, r->pending > w->keys ? ", ..." : "");
	return out_end(&out, NULL, err);
}

static int run(const struct cli_call *call, void *ctx, struct err *err)
{
	struct console *con = ctx;
	struct walk w = { .json = BUF_INIT(KEYS_BYTES_MAX + 16), .text = BUF_INIT(KEYS_BYTES_MAX * 2) };
	const struct verify_options o = {
		.max_keys = (unsigned)cli_u64(call, "--keys"), .key = on_key, .progress = on_progress, .arg = &w, .stop = &con->stop
	};
	struct verify_result r = { .pending = 0 };
	struct migration_ref m;
	int rc = console_find(con, call, call->args[0], &m, err);

	if (rc == 0) {
		progress_init(&w.progress, m.name, clock_now_ms(clock_system()));
		progress_view_open(&w.view, call);
		rc = verify_walk(con->pg, m.id, &o, &r, err);
		progress_view_clear(&w.view);
	}
	if (rc == 0)
		rc = report(call, &m, &r, &w, err);
	buf_free(&w.json);
	buf_free(&w.text);
	if (rc != 0)
		return rc;
	return verify_clean(&r) ? 0 : CLI_EXIT_NOT_CLEAN;
}

const struct cli_command verify_command = {
	.name = "verify",
	.args = "NAME",
	.min_args = 1,
	.max_args = 1,
	.complete = "migrations",
	.summary = "prove that no row is left, or name those that are",
	.help = "Walks the table itself, window by window, and counts the rows that are still pending; it believes no counter. Rows with a dead letter are left, and "
		"so counted; rows that were forgotten (`drover forget`) are named and do not count. A row on which the predicate itself fails counts as left.\n\n"
		"A ledger-only migration has no predicate to prove anything by: then the ledger is checked, and the verdict says \"covered by the ledger\".",
	.options = options,
	.exits = exits,
	.run = run,
};
