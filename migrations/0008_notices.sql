-- The outbox: whoever is told of a change, one row for each recipient, written in the transaction of the change.
-- Times are microseconds since 1970-01-01 UTC. `is_gathered`: what happens within a day is told as one, with its `count`.
-- `leased_until`: somebody is delivering it. Of an attempt that ends later, nothing counts.
CREATE TABLE notice (
    id           TEXT    NOT NULL PRIMARY KEY,
    kind         TEXT    NOT NULL,
    account      TEXT    NOT NULL,
    about        TEXT,
    recipient    TEXT,
    way          TEXT    NOT NULL CHECK (way IN ('email', 'number', 'postal')),
    target       TEXT    NOT NULL,
    is_gathered  INTEGER NOT NULL CHECK (is_gathered IN (0, 1)),
    count        INTEGER NOT NULL CHECK (count >= 1),
    revision     INTEGER,
    created      INTEGER NOT NULL,
    due          INTEGER NOT NULL,
    state        TEXT    NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
    attempts     INTEGER NOT NULL,
    leased_until INTEGER NOT NULL,
    last_error   TEXT,
    settled      INTEGER
) STRICT;
CREATE INDEX notice_due ON notice (due) WHERE state = 'pending';
CREATE INDEX notice_gathered ON notice (account, kind, target, due) WHERE is_gathered = 1;
-- Which addresses a contact had before.
CREATE INDEX notice_former ON notice (about, created) WHERE kind = 'email_changed';
CREATE INDEX notice_by_age ON notice (created, id);
CREATE INDEX notice_settled ON notice (settled) WHERE state = 'delivered';

-- Of how many failures somebody was told. Only lanes that are, or were, locked are looked for.
ALTER TABLE credential_lane ADD COLUMN told INTEGER NOT NULL DEFAULT 0;
CREATE INDEX credential_lane_untold ON credential_lane (credential) WHERE locked_until > 0 AND failures > told;
