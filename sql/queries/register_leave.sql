-- register_leave: wait until the last job of a migration has left it; none enters before this transaction ends. Params: $1 its id.
SELECT pg_catalog.pg_advisory_xact_lock(1148348278, $1::integer)
