-- Resets of a passphrase that were asked for (F8). `contact` is empty, and nothing due, when nothing is behind one; such a row
-- is written all the same, so that nobody and somebody take the same work. No code is here. `version` is that of the contact's
-- credential when the reset was asked for (0: none), so that it counts no more once that was changed. Rows are deleted after
-- a day.
CREATE TABLE countersign.passphrase_reset (
    id      text        NOT NULL PRIMARY KEY,
    account text        NOT NULL,
    contact text        NOT NULL,
    kind    text        NOT NULL CHECK (kind IN ('ADDRESS_OF_RECORD', 'NUMBER_OF_RECORD')),
    client  text        NOT NULL,
    channel text        NOT NULL,
    opened  timestamptz NOT NULL,
    due     boolean     NOT NULL,
    version bigint      NOT NULL,
    tries   int         NOT NULL,
    used_at timestamptz
);
CREATE INDEX passphrase_reset_of_contact ON countersign.passphrase_reset (contact, opened) WHERE due;
CREATE INDEX passphrase_reset_by_age ON countersign.passphrase_reset (opened);
-- When somebody with the right to it last ended a lock of the unfamiliar lane: once a day.
ALTER TABLE countersign.credential ADD COLUMN unlocked_at timestamptz;
