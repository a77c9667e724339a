-- worker_key_image: the row claimed, by its key alone, for drover.put_failed(). $1 {"key": [...], "row": null}. Nothing if the receipts left nothing.
SELECT pg_catalog.set_config('drover.row', CASE WHEN pg_catalog.current_setting('drover.claim1') = '{}' THEN '' ELSE $1 END, true)
