-- left: the rows of the window b that are still to be done. $N whether failed rows exist. Part of close and missing.
SELECT {key_as} FROM {table} WHERE {between:b.first_key,b.last_key} AND {unsettled}
