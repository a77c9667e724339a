-- bound_cpu: is there a CPU left on the server? A loop of some ten milliseconds notes the time again and again; where it stands still, somebody
-- else had the CPU. Takes no locks. Returns one row: lost, the share of the time that it waited, 0 to 1.
SELECT coalesce(pg_catalog.sum(gap) FILTER (WHERE gap > 0.0005) / nullif(pg_catalog.sum(gap), 0), 0) AS lost
  FROM (SELECT at - pg_catalog.lag(at) OVER () AS gap
          FROM (SELECT pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) AS at FROM pg_catalog.generate_series(1, 30000)) AS t) AS g
