-- pick: of the rows locked, keep those that are pending now, with a snapshot taken after the locks, in drover.keys1 ..
SELECT {save_keys}, pg_catalog.set_config('drover.changed', pg_catalog.count(*)::text, true)
  FROM (SELECT {key} FROM {table} WHERE {in_claim} AND {meant} AND {pending} ORDER BY {key}) AS picked
