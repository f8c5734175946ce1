-- Deliveries to the record that were asked for (F3). `due` 0: nothing is behind it; such a row is written all the same,
-- so that nobody and somebody take the same work. Rows are deleted after a day.
CREATE TABLE delivery (
    id      TEXT    NOT NULL PRIMARY KEY,
    account TEXT    NOT NULL,
    kind    TEXT    NOT NULL CHECK (kind IN ('ADDRESS_OF_RECORD', 'NUMBER_OF_RECORD')),
    opened  INTEGER NOT NULL,
    due     INTEGER NOT NULL CHECK (due IN (0, 1))
) STRICT, WITHOUT ROWID;
CREATE INDEX delivery_of_account ON delivery (account, opened) WHERE due = 1;
CREATE INDEX delivery_by_age ON delivery (opened);
