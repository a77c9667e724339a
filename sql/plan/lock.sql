-- lock: lock the candidates in key order and keep their keys: as drover.keys1 .. and their number as drover.changed where the predicate
-- looks at its own row alone, since that row was tested again under its lock; else as drover.claim1 .., for pick.
SELECT {save} FROM {candidates}
