-- missing: the rows of one window that are still to be done. $1 its number, $2 whether failed rows exist.
-- Returns an array per key column, in key order.
SELECT {arrays_of_key}
  FROM (SELECT {key} FROM {table}, drover.batches b
         WHERE b.migration_id = {migration} AND b.number = $1::bigint AND b.state = 'open'
           AND {between:b.first_key,b.last_key} AND {window_member} AND {unsettled:$2::boolean}
         ORDER BY {key}) AS missing
