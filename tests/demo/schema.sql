-- The table before its migration, the new columns already there (the expand step), with the rules that the new shape has to keep.
CREATE TABLE packages (
  id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  package           text NOT NULL,
  version           text,
  maintainer        text,
  section           text,
  installed_size_kb bigint,
  homepage          text,
  depends           text,
  tags              text,
  description       text,
  maintainer_name    text CONSTRAINT name_is_short CHECK (length(maintainer_name) <= 45)
                          CONSTRAINT name_is_plain CHECK (maintainer_name !~ '["<>]'),
  maintainer_address text CONSTRAINT address_is_valid CHECK (maintainer_address ~ '^[^@<>, ]+@[^@<>, ]+$'),
  details           jsonb
);
CREATE TABLE package_tags (
  package_id bigint REFERENCES packages ON DELETE CASCADE,
  tag        text,
  PRIMARY KEY (package_id, tag)
);
