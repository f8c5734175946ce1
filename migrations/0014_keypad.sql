-- Digits for the telephone keypad, beside a contact's own passphrase (docs/decisions/0018). They count with it, in the rows of
-- `credential_lane`, and hold only while `version` is that of the credential: whatever ends or changes the passphrase ends them.
-- A row stays when they are cleared (`phc` NULL), since `set_at` begins a cool-off. Times are microseconds since 1970-01-01 UTC.
CREATE TABLE credential_keypad (
    credential        INTEGER NOT NULL PRIMARY KEY REFERENCES credential (id),
    version           INTEGER NOT NULL,
    phc               TEXT,
    set_at            INTEGER NOT NULL,
    set_by_kind       TEXT    NOT NULL,
    set_by_name       TEXT    NOT NULL,
    method            TEXT    NOT NULL,
    canonical_version INTEGER NOT NULL
) STRICT;

-- How many of a lane's failures were made with the digits. A success with them takes back those and no other: whoever knows the
-- weaker secret gains no guess at the stronger one.
ALTER TABLE credential_lane ADD COLUMN by_keypad INTEGER NOT NULL DEFAULT 0;
