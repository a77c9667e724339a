-- left: the rows of the window drover_b that are still to be done. $N whether failed rows exist. Part of close and missing.
SELECT {key_as} FROM {table} WHERE {between:drover_b.first_key,drover_b.last_key} AND {unsettled}
