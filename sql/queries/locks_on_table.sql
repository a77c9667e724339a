-- locks_on_table: who may hold up work on a table. Params: $1 its name as SQL has it ("schema"."table"), or a schema's alone: all of its tables. With its partitions. Takes no locks, needs
-- no rights on the table. Returns, the weightiest first: pid (NULL: a prepared transaction), gid (its name, quoted), who, relation, mode, granted, excludes (it keeps
-- every writer out), blocks (one of Drover's connections waits for it now), behind (pids that it waits for itself; NULL: none), open_s (its
-- transaction; NULL: hidden), idle (it does nothing in it), state, query, hidden (its query is shown to members of pg_read_all_stats).
WITH RECURSIVE name AS MATERIALIZED (
  SELECT pg_catalog.parse_ident($1) AS n
), rels (oid, relation) AS (
  SELECT c.oid, pg_catalog.format('%I.%I', s.nspname, c.relname)
    FROM name JOIN pg_catalog.pg_namespace AS s ON s.nspname = n[1]
    JOIN pg_catalog.pg_class AS c ON c.relnamespace = s.oid AND (n[2] IS NULL OR c.relname = n[2]) AND c.relkind IN ('r', 'p')
   UNION
  SELECT i.inhrelid, rels.relation FROM rels JOIN pg_catalog.pg_inherits AS i ON i.inhparent = rels.oid
), ours AS MATERIALIZED (
  SELECT a.pid FROM pg_catalog.pg_stat_activity AS a WHERE a.datname = pg_catalog.current_database() AND a.application_name LIKE 'drover%'
), blockers AS MATERIALIZED (
  SELECT DISTINCT b.pid FROM pg_catalog.pg_locks AS l JOIN ours ON ours.pid = l.pid
   CROSS JOIN LATERAL unnest(pg_catalog.pg_blocking_pids(l.pid)) AS b(pid) WHERE NOT l.granted
), held AS (
  SELECT l.pid, l.virtualtransaction, l.granted, pg_catalog.min(rels.relation) AS relation, pg_catalog.max(l.mode) AS any_mode,
         pg_catalog.max(l.mode) FILTER (WHERE l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')) AS excluding
    FROM pg_catalog.pg_locks AS l JOIN rels ON rels.oid = l.relation
   WHERE l.locktype = 'relation' AND l.mode NOT IN ('AccessShareLock', 'ShareUpdateExclusiveLock')
     AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
     AND (l.pid IS NULL OR l.pid NOT IN (SELECT ours.pid FROM ours))
   GROUP BY 1, 2, 3
   UNION ALL
  SELECT b.pid, NULL, true, NULL, NULL, NULL FROM blockers AS b
   WHERE b.pid <> 0 AND b.pid NOT IN (SELECT ours.pid FROM ours)
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_locks AS l JOIN rels ON rels.oid = l.relation WHERE l.pid = b.pid AND l.locktype = 'relation'
                        AND l.mode NOT IN ('AccessShareLock', 'ShareUpdateExclusiveLock'))
)
SELECT h.pid, pg_catalog.quote_literal(p.gid) AS gid, coalesce(nullif(a.application_name, '') || ' of ' || a.usename, a.usename, p.owner) AS who, h.relation,
       coalesce(h.excluding, h.any_mode) AS mode, h.granted, h.excluding IS NOT NULL AS excludes,
       coalesce(h.pid IN (SELECT b.pid FROM blockers AS b), false)
         OR (h.pid IS NULL AND EXISTS (SELECT FROM blockers AS b WHERE b.pid = 0)) AS blocks,
       CASE WHEN NOT h.granted THEN (SELECT pg_catalog.string_agg(b.pid::text, ', ') FROM unnest(pg_catalog.pg_blocking_pids(h.pid)) AS b(pid)) END AS behind,
       extract(epoch FROM pg_catalog.now() - coalesce(a.xact_start, p.prepared))::bigint AS open_s,
       a.state LIKE 'idle%' AS idle, a.state, pg_catalog.left(a.query, 200) AS query,
       coalesce(a.query = '<insufficient privilege>', false) AS hidden
  FROM held AS h
  LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = h.pid
  LEFT JOIN pg_catalog.pg_prepared_xacts AS p ON h.pid IS NULL AND h.virtualtransaction = '-1/' || p.transaction::text
 ORDER BY blocks DESC, excludes DESC, open_s DESC NULLS LAST LIMIT 20
