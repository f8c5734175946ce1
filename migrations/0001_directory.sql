-- The directory: accounts, contacts, roles, the log of every change, interactions, escalations.
-- Times are microseconds since 1970-01-01 UTC, dates are ISO 8601. `*_folded` is the form in which names are compared
-- (directory::select::folded); it is computed by the sidecar, never by SQL.

CREATE TABLE account (
    id                       TEXT    NOT NULL PRIMARY KEY,
    name                     TEXT    NOT NULL,
    name_folded              TEXT    NOT NULL,
    created                  INTEGER NOT NULL,
    primary_admin            TEXT    REFERENCES contact (id),
    number_moves_locked      INTEGER NOT NULL CHECK (number_moves_locked IN (0, 1)),
    dedicated_representative INTEGER NOT NULL CHECK (dedicated_representative IN (0, 1)),
    contract_addresses_cpni  INTEGER NOT NULL CHECK (contract_addresses_cpni IN (0, 1))
) STRICT;
CREATE INDEX account_by_name ON account (name_folded);

CREATE TABLE number_of_record (
    account  TEXT    NOT NULL REFERENCES account (id),
    number   TEXT    NOT NULL,
    added    TEXT    NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (account, number)
) STRICT;
-- Not unique: a number on two accounts is ambiguous and selects nobody.
CREATE INDEX number_of_record_by_number ON number_of_record (number);

CREATE TABLE address_of_record (
    account  TEXT    NOT NULL REFERENCES account (id),
    position INTEGER NOT NULL,
    kind     TEXT    NOT NULL CHECK (kind IN ('postal', 'email')),
    address  TEXT    NOT NULL,
    added    TEXT    NOT NULL,
    PRIMARY KEY (account, position)
) STRICT;

CREATE TABLE site (
    account  TEXT    NOT NULL REFERENCES account (id),
    id       TEXT    NOT NULL,
    name     TEXT    NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (account, id)
) STRICT;

CREATE TABLE contact (
    id              TEXT    NOT NULL PRIMARY KEY,
    account         TEXT    NOT NULL REFERENCES account (id),
    first_name      TEXT    NOT NULL,
    first_folded    TEXT    NOT NULL,
    last_name       TEXT    NOT NULL,
    last_folded     TEXT    NOT NULL,
    email           TEXT,
    email_folded    TEXT,
    extension       TEXT,
    user_id         TEXT,
    user_id_folded  TEXT,
    status          TEXT    NOT NULL CHECK (status IN ('active', 'inactive')),
    created         INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX contact_by_email ON contact (account, email_folded) WHERE email_folded IS NOT NULL;
CREATE UNIQUE INDEX contact_by_extension ON contact (account, extension) WHERE extension IS NOT NULL;
CREATE UNIQUE INDEX contact_by_user_id ON contact (account, user_id_folded) WHERE user_id_folded IS NOT NULL;
-- Not unique: two people of one name are ambiguous, and the name selects neither.
CREATE INDEX contact_by_name ON contact (account, last_folded, first_folded);

-- `site` NULL: the whole company.
CREATE TABLE role_assignment (
    contact TEXT    NOT NULL REFERENCES contact (id),
    role    TEXT    NOT NULL,
    account TEXT    NOT NULL,
    site    TEXT,
    granted INTEGER NOT NULL,
    FOREIGN KEY (account, site) REFERENCES site (account, id)
) STRICT;
CREATE UNIQUE INDEX role_assignment_once ON role_assignment (contact, role, coalesce(site, ''));
CREATE INDEX role_assignment_by_site ON role_assignment (account, site) WHERE site IS NOT NULL;

-- Rows are never deleted, so the next rowid is the next revision and there are no gaps.
CREATE TABLE change_log (
    revision   INTEGER NOT NULL PRIMARY KEY,
    at         INTEGER NOT NULL,
    actor_kind TEXT    NOT NULL CHECK (actor_kind IN ('operator', 'client', 'sidecar')),
    actor_name TEXT    NOT NULL,
    account    TEXT,
    kind       TEXT    NOT NULL
) STRICT;

CREATE TABLE interaction (
    client_group TEXT    NOT NULL,
    id           TEXT    NOT NULL,
    opened_by    TEXT    NOT NULL,
    opened_at    INTEGER NOT NULL,
    ended_at     INTEGER,
    PRIMARY KEY (client_group, id)
) STRICT;
CREATE INDEX interaction_by_age ON interaction (opened_at);

CREATE TABLE escalation (
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
    state         TEXT    NOT NULL CHECK (state IN ('pending'))
) STRICT;
CREATE INDEX escalation_pending ON escalation (account, contact, action, resource, expires) WHERE state = 'pending';

-- What each key must yield, so that a missing or a different key is noticed at start. Never the key itself.
CREATE TABLE key_check (
    purpose     TEXT NOT NULL,
    key_id      TEXT NOT NULL,
    check_value BLOB NOT NULL,
    PRIMARY KEY (purpose, key_id)
) STRICT;
