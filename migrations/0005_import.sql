-- Which accounts an import made that has not ended: their dates are still taken from its rows (`--trust-dates`).
-- `at` is microseconds since 1970-01-01 UTC. No row of the directory: nothing is decided by it.
CREATE TABLE import_founded (
    account TEXT    NOT NULL PRIMARY KEY REFERENCES account (id),
    import  TEXT    NOT NULL,
    at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX import_founded_by_import ON import_founded (import);
