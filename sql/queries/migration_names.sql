-- migration_names: all of them, oldest first. Returns: name.
SELECT name FROM drover.migrations ORDER BY id
