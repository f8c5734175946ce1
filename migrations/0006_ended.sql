-- Which interaction a change ended, so that whoever keeps in memory where interactions stand can follow the log.
ALTER TABLE change_log ADD COLUMN interaction_group TEXT;
ALTER TABLE change_log ADD COLUMN interaction_id TEXT;
