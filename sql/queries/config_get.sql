-- config_get: the settings in force. Params: $1 migration id (0: those for all). Returns: settings (jsonb as text).
SELECT drover.settings_of($1::integer)::text AS settings
