-- worker_settings: the small settings of a worker's transactions that run nothing of the migration's. $1 lock_timeout and
-- $2 statement_timeout in ms, $3 application_name.
SELECT pg_catalog.set_config('lock_timeout', $1, true), pg_catalog.set_config('statement_timeout', $2, true),
       pg_catalog.set_config('idle_in_transaction_session_timeout', '10000', true), pg_catalog.set_config('application_name', $3, true),
       pg_catalog.set_config('search_path', 'pg_catalog', true)
