-- How far a copy of another store into this database is. No row: none was begun. Only the owner writes here; a sidecar refuses to
-- work with what is half copied.
CREATE TABLE countersign.copy (
    only_row boolean     NOT NULL PRIMARY KEY DEFAULT true CHECK (only_row),
    -- Names the directory that is copied: a digest of the first row of its change log.
    origin   text        NOT NULL,
    begun    timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished timestamptz
);

-- How many rows each step has written.
CREATE TABLE countersign.copied (
    step text   NOT NULL PRIMARY KEY,
    rows bigint NOT NULL
);
