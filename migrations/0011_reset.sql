-- Resets of a passphrase that were asked for (F8). `contact` is empty, and `due` 0, when nothing is behind one; such a row is
-- written all the same, so that nobody and somebody take the same work. No code is here. `version` is that of the contact's
-- credential when the reset was asked for (0: none), so that it counts no more once that was changed. Rows are deleted after
-- a day. Times are microseconds since 1970-01-01 UTC.
CREATE TABLE passphrase_reset (
    id      TEXT    NOT NULL PRIMARY KEY,
    account TEXT    NOT NULL,
    contact TEXT    NOT NULL,
    kind    TEXT    NOT NULL CHECK (kind IN ('ADDRESS_OF_RECORD', 'NUMBER_OF_RECORD')),
    client  TEXT    NOT NULL,
    channel TEXT    NOT NULL,
    opened  INTEGER NOT NULL,
    due     INTEGER NOT NULL CHECK (due IN (0, 1)),
    version INTEGER NOT NULL,
    tries   INTEGER NOT NULL,
    used_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX passphrase_reset_of_contact ON passphrase_reset (contact, opened) WHERE due = 1;
CREATE INDEX passphrase_reset_by_age ON passphrase_reset (opened);
-- When somebody with the right to it last ended a lock of the unfamiliar lane: once a day.
ALTER TABLE credential ADD COLUMN unlocked_at INTEGER;
