-- Credentials, the durable floor of those who try them, and the windows of the throttle.
-- Times are microseconds since 1970-01-01 UTC. Keys, members and lines are keyed digests of 16 bytes.

-- A contact's own, or (`contact` NULL) the primary account passphrase. A row stays when its passphrase is cleared: who
-- ever had one of his own never falls back to another. `version` is the revision at which it was last set or ended.
CREATE TABLE credential (
    id                INTEGER NOT NULL PRIMARY KEY,
    account           TEXT    NOT NULL REFERENCES account (id),
    contact           TEXT    REFERENCES contact (id),
    version           INTEGER NOT NULL,
    set_at            INTEGER NOT NULL,
    set_by_kind       TEXT    NOT NULL,
    set_by_name       TEXT    NOT NULL,
    method            TEXT    NOT NULL,
    canonical_version INTEGER NOT NULL,
    suspended_at      INTEGER,
    -- How often the unfamiliar lane was reopened since, and the failures that it had counted before.
    reopened          INTEGER NOT NULL,
    retired           INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX credential_of_contact ON credential (contact) WHERE contact IS NOT NULL;
CREATE UNIQUE INDEX credential_of_account ON credential (account) WHERE contact IS NULL;
CREATE INDEX credential_by_account ON credential (account);

-- Apart from `credential`, since a rehash is no change of the directory. No row: cleared.
CREATE TABLE credential_hash (
    credential INTEGER NOT NULL PRIMARY KEY REFERENCES credential (id),
    phc        TEXT    NOT NULL
) STRICT;

-- Consecutive failures. `lane` is empty for the unfamiliar lane, and the line for a familiar one. The failures of one
-- credential never sum to more than 100, so that its rows are few.
CREATE TABLE credential_lane (
    credential   INTEGER NOT NULL REFERENCES credential (id),
    lane         BLOB    NOT NULL,
    failures     INTEGER NOT NULL,
    locked_until INTEGER NOT NULL,
    PRIMARY KEY (credential, lane)
) STRICT, WITHOUT ROWID;

-- What is written when there is no credential to count at, so that nobody and somebody take the same work.
CREATE TABLE credential_dummy (
    id           INTEGER NOT NULL PRIMARY KEY,
    failures     INTEGER NOT NULL,
    locked_until INTEGER NOT NULL
) STRICT;
WITH RECURSIVE dummy (id) AS (SELECT 0 UNION ALL SELECT id + 1 FROM dummy WHERE id < 63)
INSERT INTO credential_dummy (id, failures, locked_until) SELECT id, 0, 0 FROM dummy;

-- On which lines a contact was verified, the newest few.
CREATE TABLE verified_line (
    contact     TEXT    NOT NULL REFERENCES contact (id),
    line        BLOB    NOT NULL,
    verified_at INTEGER NOT NULL,
    PRIMARY KEY (contact, line)
) STRICT, WITHOUT ROWID;

-- The windows: one row for each unit that is taken.
CREATE TABLE throttle_unit (
    key    BLOB    NOT NULL,
    member BLOB    NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (key, member)
) STRICT, WITHOUT ROWID;
CREATE INDEX throttle_unit_by_age ON throttle_unit (at);

-- How many new keys each client brought in its newest minute.
CREATE TABLE throttle_new_key (
    client BLOB    NOT NULL PRIMARY KEY,
    minute INTEGER NOT NULL,
    keys   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row. Without it the windows were lost, and are under suspicion until then.
CREATE TABLE throttle_store (
    suspect_until INTEGER NOT NULL
) STRICT;
INSERT INTO throttle_store (suspect_until) VALUES (0);
