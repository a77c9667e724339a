-- failed_newest: the highest id so far, 0 if there is none: what fails later has a higher one. Returns: one row: id.
SELECT coalesce(max(id), 0) AS id FROM drover.failed_jobs
