-- update: a `set` over the rows picked.
UPDATE {table} SET {assignments} WHERE {in_keys}
