-- Which life of the directory this is: one row. Putting a copy back begins another (directory::generation).
CREATE TABLE directory_generation (
    number INTEGER NOT NULL,
    mark   BLOB    NOT NULL
) STRICT;
INSERT INTO directory_generation (number, mark) VALUES (0, x'');
-- Without a row of the generation the windows were lost, and are under suspicion until then.
ALTER TABLE throttle_store ADD COLUMN generation BLOB NOT NULL DEFAULT x'';
