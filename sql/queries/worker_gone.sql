-- worker_gone: a worker ends in good order. $1 its name, $2 its pid. Workers that died long ago are swept out with it.
DELETE FROM drover.workers WHERE (name = $1 AND pid = $2::integer) OR heartbeat_at < pg_catalog.now() - interval '1 day'
