-- Requests that changed who is on record, with what they were answered, for a day: sent again, one does nothing twice. Deleted
-- after a day. Times are microseconds since 1970-01-01 UTC.
CREATE TABLE directory_request (
    client TEXT    NOT NULL,
    id     TEXT    NOT NULL,
    digest TEXT    NOT NULL,
    answer TEXT    NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (client, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX directory_request_by_age ON directory_request (at);
-- Whether an account has changed since it was read.
CREATE INDEX change_log_by_account ON change_log (account, revision) WHERE account IS NOT NULL;
