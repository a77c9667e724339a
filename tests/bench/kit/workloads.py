"""The work that Drover and others are measured with: tables, the one-shot UPDATE of their rows, migration files."""

from dataclasses import dataclass, field

_TABLE = """
CREATE TABLE user_preferences (id {key}, user_id bigint, notification_settings jsonb, created_at timestamptz, updated_at timestamptz{column});
INSERT INTO user_preferences (id, user_id, notification_settings, created_at, updated_at)
SELECT {id}, g * 7 % 1000003,
       jsonb_build_object('email', g % 3 = 0, 'push', g % 2 = 0, 'sms', g % 7 = 0,
         'digest', jsonb_build_object('enabled', g % 5 = 0, 'hour', g % 24),
         'channels', jsonb_build_array('news', 'offers', 'social_' || (g % 97)),
         'quiet_hours', jsonb_build_object('from', '22:00', 'to', '07:00'), 'locale', 'en_GB', 'theme', left(md5(g::text), 12))
         || CASE WHEN {done} THEN '{{"email_frequency": "daily"}}' ELSE '{{}}' END::jsonb,
       CASE WHEN abs(hashint8(g + 77777777)) % 20 = 0 THEN timestamptz '2024-06-01'
            ELSE timestamptz '2019-01-01' + (g % 120000000) * interval '1 second' END,
       timestamptz '2023-06-01'
  FROM generate_series(1, {rows}) g{order};
"""


def preferences(rows, key="bigserial PRIMARY KEY", id="g", done="hashint8(g) % 20 = 0", order="", column="", more=""):
    """SQL that makes user_preferences with so many rows, 90.2 % of which match unless told otherwise."""
    return _TABLE.format(rows=rows, key=key, id=id, done=done, order=order, column=column) + more


PENDING = "created_at < '2024-01-01' AND notification_settings->>'email_frequency' IS NULL"
_FREQUENCY = "jsonb_set({t}notification_settings, '{{email_frequency}}', '\"weekly\"')"
_SET = _FREQUENCY.format(t="")
UPDATE = f"UPDATE user_preferences SET notification_settings = {_SET}, updated_at = now() WHERE {PENDING}"
_HEAD = "-- drover: table user_preferences\n"
SET_FILE = f"{_HEAD}-- drover: set notification_settings = {_SET}\n-- drover: set updated_at = now()\n-- drover: pending {PENDING}\n"
BACKFILL_FILE = f"""{_HEAD}-- drover: pending {PENDING}

-- drover: backfill
UPDATE user_preferences p SET notification_settings = {_FREQUENCY.format(t='p.')}, updated_at = now() FROM :batch b WHERE p.id = b.id;
"""

SECTION_FILE = BACKFILL_FILE.replace(";", " AND p.notification_settings IS NOT NULL;")

_COLUMN = "coalesce(notification_settings->>'theme', 'none')"
_COPY = """INSERT INTO quiet_hours (id, user_id, hours)
SELECT {t}.id, {t}.user_id, {t}.notification_settings->'quiet_hours' FROM user_preferences {t}"""
_COPY_PENDING = "NOT EXISTS (SELECT 1 FROM quiet_hours q WHERE q.id = user_preferences.id)"


@dataclass
class Workload:
    """One piece of work.

    pending: true for the rows that it is about, and no more once it is done. bars: of the median ratio to the one-shot (rows/s, at least;
    PostgreSQL's CPU per row, at most), and what Drover's processes and Redis may take: of PostgreSQL's CPU in %, and µs per row.
    """

    title: str
    file: str
    table: dict = field(default_factory=dict)  # arguments of preferences()
    pending: str = PENDING
    one_shot: str = UPDATE
    faster: float = None
    cpu: float = None
    share: float = None
    us_per_row: float = None
    ranges: bool = False  # measured against bare UPDATEs of key ranges too

    def sql(self, rows):
        return preferences(rows, **self.table)

    def source(self, rows):
        """(name of the database that has its table, the SQL that makes it)."""
        kind = next(name for name, other in WORKLOADS.items() if other.table == self.table)
        return f"{kind}_{rows}", self.sql(rows)


WORKLOADS = {
    "json-batch": Workload("JSON backfill, `set`, a job is a batch", SET_FILE, faster=1.4, cpu=1.15, share=5, ranges=True),
    "json-backfill": Workload("the same as a `backfill` section over `:batch`", BACKFILL_FILE, faster=1.0, cpu=1.6),
    "json-section": Workload("the same as a section that is done step by step", SECTION_FILE),
    "json-row": Workload("the same, a job is a row", SET_FILE + "-- drover: mode row\n", faster=0.9, us_per_row=6),
    "new-column": Workload(
        "`set` of a new column, predicate derived", f"{_HEAD}-- drover: set theme = {_COLUMN}\n", {"column": ", theme text"},
        "theme IS NULL", f"UPDATE user_preferences SET theme = {_COLUMN} WHERE theme IS NULL AND {_COLUMN} IS NOT NULL"),
    "copy": Workload(
        "copy into another table",
        f"{_HEAD}-- drover: pending {_COPY_PENDING}\n\n-- drover: backfill\n{_COPY.format(t='p')} JOIN :batch b ON b.id = p.id;\n",
        {"more": "CREATE TABLE quiet_hours (id bigint PRIMARY KEY, user_id bigint, hours jsonb);"},
        _COPY_PENDING, _COPY.format(t="user_preferences")),
    "index": Workload(
        "JSON backfill with an index on what changes (no HOT)", SET_FILE,
        {"more": "CREATE INDEX ON user_preferences ((notification_settings->>'email_frequency'));"}),
    "shuffled": Workload("JSON backfill, rows in random physical order", SET_FILE, {"order": " ORDER BY md5(g::text)"}),
    "uuid": Workload(
        "JSON backfill, uuid keys in random physical order", SET_FILE, {"key": "uuid PRIMARY KEY", "id": "md5(g::text)::uuid"}),
}
