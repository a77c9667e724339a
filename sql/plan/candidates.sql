-- candidates: the rows of the scope that are pending, in key order. Part of lock, pick and split.
(SELECT {key_as} FROM {table} WHERE {scope} AND {meant} AND {pending} ORDER BY {key}{for_lock}) AS candidates
