-- lock: lock the candidates in key order and keep their keys in drover.claim1 ..
SELECT {save_claim}
  FROM (SELECT {key} FROM {table} WHERE {scope} AND {meant} AND {pending} ORDER BY {key} FOR {lock}) AS candidates
