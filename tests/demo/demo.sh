#!/usr/bin/env bash
# The main job on real data, in a throw-away PostgreSQL and Redis: two migrations of the machine's package index, dead letters,
# a fix, a replay, a proof. DROVER_BIN says where drover and drover-worker are. Leaves nothing behind. `--keep`: leaves the servers
# running and says how to look around.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"

export PATH="$DROVER_BIN:$PATH"
keep=no
[ "${1:-}" = --keep ] && keep=yes

dir=$(mktemp -d "${TMPDIR:-/tmp}/drover-demo.XXXXXX")
chmod 755 "$dir"
worker_pids=()
redis_pid='' pg_started=''

# PostgreSQL refuses to run as root.
as_server() {
	if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi
}

cleanup() {
	local status=$?
	trap - EXIT INT TERM
	if [ $keep = yes ] && [ $status = 0 ]; then
		# shellcheck disable=SC2016 # $PATH is for whoever pastes the line
		printf '\nstill running, for you to look around:\n  export DATABASE_URL=%q REDIS_URL=%q PATH=%q:$PATH\n' "$DATABASE_URL" "$REDIS_URL" "$DROVER_BIN"
		printf 'to end it:\n  kill %s; %s -D %s -m fast stop; rm -rf %s\n' "${worker_pids[*]} $redis_pid" "$pgbin/pg_ctl" "$dir/pg/data" "$dir"
		exit 0
	fi
	for pid in "${worker_pids[@]}" $redis_pid; do kill "$pid" 2> /dev/null || true; done
	wait || true
	if [ -n "$pg_started" ]; then as_server "$pgbin/pg_ctl" -D "$dir/pg/data" -m immediate stop > /dev/null 2>&1 || true; fi
	if [ $status != 0 ]; then
		echo "the demo failed (status $status); what the programs said last:" >&2
		tail -n 15 "$dir"/*.log >&2 2> /dev/null || true
	fi
	rm -rf "$dir"
	exit $status
}
trap cleanup EXIT
trap 'exit 130' INT TERM

bold='' dim='' off=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\e[1m' dim=$'\e[2m' off=$'\e[0m'; fi
title() { printf '\n%s== %s%s\n' "$bold" "$*" "$off"; }
note() { printf '%s   %s%s\n' "$dim" "$*" "$off"; }
show() { printf '%s$ %s%s\n' "$bold" "$*" "$off"; }

# run [STATUS] COMMAND...: shows the command, runs it, and insists on its exit status.
run() {
	local want=0 got=0
	if [[ $1 =~ ^[0-9]+$ ]]; then want=$1; shift; fi
	show "$*"
	"$@" || got=$?
	if [ "$got" != "$want" ]; then
		echo "the demo expected exit status $want and got $got" >&2
		exit 1
	fi
}
sql() { psql -X -q -v ON_ERROR_STOP=1 -d "$DATABASE_URL" "$@"; }
run_sql() {
	show "psql -c \"$1\""
	sql -c "$1"
}

title 'A throw-away PostgreSQL and Redis'
pgbin=$(find /usr/lib/postgresql -maxdepth 2 -name bin | sort -V | tail -n 1)
mkdir "$dir/pg" "$dir/redis"
chmod 700 "$dir/redis"
if [ "$(id -u)" = 0 ]; then chown postgres "$dir/pg"; fi
as_server "$pgbin/initdb" -D "$dir/pg/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync > "$dir/initdb.log"
as_server "$pgbin/pg_ctl" -D "$dir/pg/data" -w -l "$dir/pg/postgres.log" \
	-o "-k $dir/pg -c listen_addresses= -c max_wal_size=4GB" start > "$dir/pg_ctl.log"
pg_started=yes
redis-server --port 0 --unixsocket "$dir/redis/redis.sock" --save '' --appendonly no --daemonize no \
	--maxmemory-policy noeviction > "$dir/redis.log" &
redis_pid=$!
export DATABASE_URL="postgresql:///postgres?host=$dir/pg&user=postgres"
export REDIS_URL="unix://$dir/redis/redis.sock"
note "PostgreSQL $(sql -tAc 'SHOW server_version'), $(redis-server --version | cut -d' ' -f1-3)"

title 'A table of real records'
sql -f schema.sql
./records.sh 2> "$dir/source" | sql -c '\copy packages(package, version, maintainer, section, installed_size_kb, homepage, depends, tags, description) FROM stdin'
sql -c 'ANALYZE packages'
note "$(sql -tAc 'SELECT count(*) FROM packages') records from $(cat "$dir/source")"
sql -c 'SELECT id, package, maintainer, maintainer_name, maintainer_address FROM packages ORDER BY id LIMIT 3'

started=$(date +%s)

title 'Two workers, as many as you like'
run drover init
for name in barn field; do
	show "drover-worker --name $name --concurrency 2 &"
	drover-worker --name $name --concurrency 2 2> "$dir/worker-$name.log" &
	worker_pids+=($!)
done

title 'One file is one migration'
cat migrations/0001_split_maintainer.sql
echo
run 4 drover produce migrations/0001_split_maintainer.sql --wait
note 'exit status 4: finished, but some rows broke a constraint and became dead letters; all others are migrated'

title 'The dead letters'
run drover status 0001_split_maintainer
run drover failed 0001_split_maintainer --group
id=$(drover failed 0001_split_maintainer --json | /usr/bin/env sed -n 's/.*"id": *\([0-9]*\).*/\1/p' | head -n 1)
run drover failed show "$id"
run 3 drover verify 0001_split_maintainer

title 'A fix and a replay'
note 'addresses with something behind them, names in quotes: the data is mended; long names: the rule was too strict'
run_sql "UPDATE packages SET maintainer = regexp_replace(maintainer, '>,.*$', '>') WHERE maintainer ~ '>,'"
run_sql "UPDATE packages SET maintainer = replace(maintainer, '\"', '') WHERE maintainer ~ '\"'"
run_sql "ALTER TABLE packages DROP CONSTRAINT name_is_short, ADD CONSTRAINT name_is_short CHECK (length(maintainer_name) <= 60)"
run drover retry all --migration 0001_split_maintainer
run drover produce 0001_split_maintainer --wait
run drover verify 0001_split_maintainer

title 'One job per row, several statements'
cat migrations/0002_package_details.sql
echo
run drover produce migrations/0002_package_details.sql --wait
run drover verify 0002_package_details
run drover status

title 'Checked by plain SQL, not by Drover'
cat > "$dir/check.sql" <<-'SQL'
	SELECT count(*) AS rows,
	       count(*) FILTER (WHERE maintainer_name IS NULL AND trim(split_part(maintainer, '<', 1)) IS NOT NULL
	                           OR maintainer_address IS NULL AND split_part(maintainer, '<', 2) IS NOT NULL) AS "without name or address",
	       count(*) FILTER (WHERE replace(maintainer_name || '<' || maintainer_address || '>', ' ', '') <> replace(maintainer, ' ', '')) AS "split wrongly",
	       count(*) FILTER (WHERE details IS NULL) AS "without details",
	       count(*) FILTER (WHERE details ->> 'section' IS DISTINCT FROM section) AS "wrong details",
	       (SELECT count(*) FROM packages p, unnest(string_to_array(p.tags, ',')) t
	         WHERE NOT EXISTS (SELECT FROM package_tags g WHERE g.package_id = p.id AND g.tag = trim(t))) AS "tags lost"
	  FROM packages
SQL
cat "$dir/check.sql"
sql -f "$dir/check.sql"
bad=$(sql -tA -f "$dir/check.sql" | cut -d"|" -f2- | tr "|" "\n" | awk '{ n += $1 } END { print n }')
[ "$bad" = 0 ] || { echo "the tables are not what they should be" >&2; exit 1; }

title "Done in $(($(date +%s) - started)) s"
