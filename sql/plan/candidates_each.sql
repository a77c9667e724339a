-- candidates_each: the same of a list of keys of several columns. Each is looked up by itself, in their order: asked for the rows that are IN the
-- list, in key order, the planner would read the whole table in that order, and the whole list for each row. OFFSET 0 keeps it from this.
(SELECT candidates.*
   FROM (SELECT DISTINCT {claimed_keys} ORDER BY {k}) AS drover_claimed
  CROSS JOIN LATERAL (SELECT {key_as} FROM {table} WHERE {key_is_of:drover_claimed} AND {meant} AND {pending} OFFSET 0{for_lock}) AS candidates
) AS candidates
