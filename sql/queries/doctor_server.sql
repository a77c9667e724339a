-- doctor_server: what may keep the whole server from being worked with. Needs no rights; what only members of pg_read_all_stats see is counted as hidden.
-- Returns one row: role (quoted), standby, read_only, connections, connections_max, hidden (sessions of other roles, without background processes: of
-- those that are hidden nothing but role and database is shown), worker_sessions (connections of workers and
-- their lanes), deadlock_ms, lag_ms, lag_mb (of the standby that is furthest behind), slot, slot_mb (that keeps the most WAL), archive_failed (the file whose
-- archiving fails now).
WITH act AS MATERIALIZED (
  SELECT datname, application_name, backend_type, usesysid, query = '<insufficient privilege>' AS hidden FROM pg_catalog.pg_stat_activity
), wal AS MATERIALIZED (
  SELECT CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_current_wal_lsn() END AS lsn
), slot AS MATERIALIZED (
  SELECT s.slot_name, pg_catalog.pg_wal_lsn_diff(wal.lsn, s.restart_lsn) / 1048576 AS mb
    FROM pg_catalog.pg_replication_slots AS s, wal WHERE NOT s.temporary AND s.restart_lsn IS NOT NULL
   ORDER BY mb DESC NULLS LAST LIMIT 1
)
SELECT pg_catalog.quote_ident(current_user) AS role, pg_catalog.pg_is_in_recovery() AS standby,
       pg_catalog.current_setting('default_transaction_read_only')::boolean AS read_only,
       (SELECT pg_catalog.count(*) FROM act WHERE usesysid IS NOT NULL AND (backend_type = 'client backend' OR backend_type IS NULL)) AS connections,
       pg_catalog.current_setting('max_connections')::integer - pg_catalog.current_setting('superuser_reserved_connections')::integer AS connections_max,
       (SELECT pg_catalog.count(*) FROM act WHERE hidden AND usesysid IS NOT NULL AND datname IS NOT NULL) AS hidden,
       (SELECT pg_catalog.count(*) FROM act WHERE datname = pg_catalog.current_database() AND (application_name = 'drover-worker' OR application_name LIKE 'drover %/%'))
         AS worker_sessions,
       (SELECT setting::bigint FROM pg_catalog.pg_settings WHERE name = 'deadlock_timeout') AS deadlock_ms,
       (SELECT (extract(epoch FROM pg_catalog.max(replay_lag)) * 1000)::bigint FROM pg_catalog.pg_stat_replication) AS lag_ms,
       (SELECT (pg_catalog.max(pg_catalog.pg_wal_lsn_diff(wal.lsn, r.replay_lsn)) / 1048576)::bigint FROM pg_catalog.pg_stat_replication AS r, wal) AS lag_mb,
       (SELECT slot_name FROM slot) AS slot, (SELECT mb::bigint FROM slot) AS slot_mb,
       (SELECT last_failed_wal FROM pg_catalog.pg_stat_archiver
         WHERE last_failed_time > coalesce(last_archived_time, '-infinity')) AS archive_failed
