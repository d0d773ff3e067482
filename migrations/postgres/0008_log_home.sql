-- Where the table log is at home: a table that was restored from a backup is another one, and continues no positions that
-- clients may have from the one before. Null: not known yet.

ALTER TABLE living_map_table_log ADD COLUMN home text;
