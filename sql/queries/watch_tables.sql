-- watch_tables: what there is to see every few seconds. Params: $1 bigint[] ids of migrations. Takes no locks. Returns a row per migration: id,
-- dead_percent (dead rows against live ones, all partitions; where the statistics began anew, against those that the planner expects), vacuum (one against wraparound is at work there), slot_mb (the most WAL that a
-- replication slot keeps), archive_mb (WAL after the file that was archived last; 0: nothing is archived here), archive_unknown (it never was).
-- What vacuums work on is hidden from those who are not members of pg_read_all_stats: then it is any vacuum and the table's age.
WITH wal AS MATERIALIZED (
  SELECT CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_current_wal_lsn() END AS lsn,
         (SELECT setting::bigint FROM pg_catalog.pg_settings WHERE name = 'wal_segment_size') AS segment
), archiver AS MATERIALIZED (
  SELECT pg_catalog.current_setting('archive_mode') <> 'off' AS wanted, a.last_archived_wal, a.failed_count > 0 AS failed
    FROM pg_catalog.pg_stat_archiver AS a
), tables AS MATERIALIZED (
  SELECT m.id, p.relid
    FROM drover.migrations AS m
   CROSS JOIN LATERAL (SELECT pg_catalog.to_regclass(m.table_name) AS relid
                        UNION SELECT t.relid FROM pg_catalog.pg_partition_tree(pg_catalog.to_regclass(m.table_name)) AS t) AS p
   WHERE m.id = ANY ($1::bigint[])
)
SELECT t.id,
       100.0 * pg_catalog.sum(pg_catalog.pg_stat_get_dead_tuples(t.relid))
         / greatest(pg_catalog.sum(pg_catalog.pg_stat_get_live_tuples(t.relid)), pg_catalog.sum(c.reltuples), 1000) AS dead_percent,
       pg_catalog.bool_or(EXISTS (
         SELECT FROM pg_catalog.pg_stat_progress_vacuum AS v
          WHERE (v.relid = t.relid OR (v.relid IS NULL AND v.datname = pg_catalog.current_database()))
            AND pg_catalog.age(c.relfrozenxid) > pg_catalog.current_setting('autovacuum_freeze_max_age')::bigint)) AS vacuum,
       (SELECT pg_catalog.max(pg_catalog.pg_wal_lsn_diff(wal.lsn, s.restart_lsn)) / 1048576
          FROM pg_catalog.pg_replication_slots AS s, wal WHERE NOT s.temporary) AS slot_mb,
       (SELECT CASE WHEN a.wanted AND a.last_archived_wal ~ '^[0-9A-F]{24}' THEN greatest(pg_catalog.pg_wal_lsn_diff(wal.lsn,
                 (pg_catalog.substr(a.last_archived_wal, 9, 8) || '/0')::pg_lsn)
                 - (('x' || pg_catalog.substr(a.last_archived_wal, 17, 8))::bit(32)::bigint + 1) * wal.segment, 0) / 1048576
               ELSE 0 END FROM archiver AS a, wal) AS archive_mb,
       (SELECT a.wanted AND a.failed AND a.last_archived_wal IS NULL FROM archiver AS a) AS archive_unknown
  FROM tables AS t JOIN pg_catalog.pg_class AS c ON c.oid = t.relid
 GROUP BY t.id
