-- pick: of the rows locked, keep those that are pending now, with a snapshot taken after the locks, in drover.keys1 ..
SELECT {save} FROM {candidates}
