-- Escalations are settled and used, not only opened. A table of its own takes the place of the first one, since SQLite
-- cannot change a CHECK. `settled_by` approved, refused or cancelled it. Expired is what waits for too long: not stored.
CREATE TABLE escalation_settleable (
    id            TEXT    NOT NULL PRIMARY KEY,
    account       TEXT    NOT NULL REFERENCES account (id),
    contact       TEXT    NOT NULL REFERENCES contact (id),
    primary_admin TEXT    NOT NULL REFERENCES contact (id),
    action        TEXT    NOT NULL,
    resource      TEXT    NOT NULL,
    client        TEXT    NOT NULL,
    request_id    TEXT    NOT NULL,
    opened        INTEGER NOT NULL,
    expires       INTEGER NOT NULL,
    state         TEXT    NOT NULL CHECK (state IN ('pending', 'approved', 'refused', 'cancelled', 'used')),
    settled_by    TEXT    REFERENCES contact (id),
    settled_at    INTEGER,
    used_at       INTEGER
) STRICT;
INSERT INTO escalation_settleable
SELECT id, account, contact, primary_admin, action, resource, client, request_id, opened, expires, state,
       NULL, NULL, NULL
FROM escalation;
DROP TABLE escalation;
ALTER TABLE escalation_settleable RENAME TO escalation;
-- What a decision asks for: it says the same condition, to the letter.
CREATE INDEX escalation_waiting ON escalation (account, contact, action, resource, expires)
WHERE state IN ('pending', 'approved');
-- What was decided of a contact's action.
CREATE INDEX escalation_decided ON escalation (contact, action, settled_at) WHERE settled_at IS NOT NULL;
-- What is listed.
CREATE INDEX escalation_of_account ON escalation (account, opened, id);
