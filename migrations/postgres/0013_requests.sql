-- Requests that changed who is on record, with what they were answered, for a day: sent again, one does nothing twice. Deleted
-- after a day.
CREATE TABLE countersign.directory_request (
    client text        NOT NULL COLLATE "C",
    id     text        NOT NULL COLLATE "C",
    digest text        NOT NULL,
    answer text        NOT NULL,
    at     timestamptz NOT NULL,
    PRIMARY KEY (client, id)
);
CREATE INDEX directory_request_by_age ON countersign.directory_request (at);
