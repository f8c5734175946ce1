-- What an account review asks for.

-- Since when the primary administrator is in office, in microseconds since 1970-01-01 UTC. Unknown where the log does not say.
ALTER TABLE account ADD COLUMN primary_admin_since INTEGER;
UPDATE account SET primary_admin_since = office.since
FROM (SELECT account, max(at) AS since FROM change_log WHERE kind = 'set_primary_admin' GROUP BY account) AS office
WHERE office.account = account.id AND account.primary_admin IS NOT NULL;

-- What verified contacts asked for: the last days, ISO 8601, on which each was verified for it and allowed it. No row of the
-- directory: nothing is decided by it.
CREATE TABLE activity (
    contact  TEXT NOT NULL REFERENCES contact (id),
    action   TEXT NOT NULL,
    verified TEXT NOT NULL,
    allowed  TEXT,
    PRIMARY KEY (contact, action)
) STRICT, WITHOUT ROWID;

-- Contacts of an account in the order of their ids.
CREATE INDEX contact_of_account ON contact (account, id);
