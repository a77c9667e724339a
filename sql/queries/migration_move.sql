-- migration_move: change a migration's state, with an event.
-- Params: $1 id, $2 states it may be in (text[]), $3 the new state, $4 actor, $5 reason (or NULL),
-- $6 whether the actor is an operator. Returns: moved. Safe to run twice.
SELECT drover.set_state($1::integer, $2::text[], $3, $4, $5, $6::boolean) AS moved
