-- Gather what describes a package in one JSON document, and its tags in a table of their own: two statements over the same rows.
-- drover: table    packages
-- drover: pending  details IS NULL
-- drover: mode     row

-- drover: backfill
INSERT INTO package_tags (package_id, tag)
SELECT p.id, trim(t.tag)
  FROM packages p
  JOIN :batch b ON b.id = p.id
 CROSS JOIN LATERAL unnest(string_to_array(p.tags, ',')) AS t(tag)
ON CONFLICT DO NOTHING;

UPDATE packages p
   SET details = jsonb_strip_nulls(jsonb_build_object(
         'section', p.section,
         'homepage', p.homepage,
         'size_kb', p.installed_size_kb,
         'depends', to_jsonb(string_to_array(p.depends, ', '))))
  FROM :batch b
 WHERE p.id = b.id;
