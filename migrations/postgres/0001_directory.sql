-- The directory of a fleet: accounts, contacts, roles, and the log of every change.
--
-- These tables are an interface: docs/postgres.md says who may write what. The database rejects rows that break an invariant
-- and logs every change itself, whoever makes it. `*_folded` is the form in which names are compared
-- (directory::select::folded); a writer that leaves it out gets it from `countersign.folded`.
--
-- LOCK ORDER, for whoever writes: `directory_state`, then `account`, then `credential_hash`, then everything else. The first
-- is taken by the trigger before the first row, so that changes of the directory stand in one line and a lower revision
-- never becomes visible after a higher one.

-- Ids are compared by bytes, so that a page of a listing follows another on every machine.
CREATE DOMAIN countersign.identifier AS text COLLATE "C" CHECK (VALUE ~ '^[!-~]{1,64}$');

-- Names, addresses: not blank, no control character.
CREATE FUNCTION countersign.is_text(value text, most_bytes int) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN octet_length(value) <= most_bytes
   AND value !~ '[\u0001-\u001f\u007f-\u009f]'
   AND value ~ '[^\s\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]';

-- NFKC, case folded, white space collapsed. Lower case is not case folding: what differs is replaced by hand. A test compares
-- this with the sidecar's over all of Unicode; the few letters in which they still differ stand in docs/postgres.md.
CREATE FUNCTION countersign.folded(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN btrim(regexp_replace(
    normalize(replace(replace(lower(normalize(value, NFKC) COLLATE "und-x-icu"), 'ß', 'ss'), 'ς', 'σ'), NFKC),
    '[\s\u0085\u1680\u2028\u2029]+', ' ', 'g'));

-- One row. Whoever holds it is alone in changing the directory; `base` is the newest revision before this transaction, `xact`.
-- `timeline` is that of the server's log. A promoted standby may have lost the newest changes; revisions then leap, so that
-- none is ever given twice: caches and versions of passphrases rest on that.
CREATE TABLE countersign.directory_state (
    only_row boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (only_row),
    base     bigint  NOT NULL,
    xact     xid8    NOT NULL,
    timeline text    NOT NULL
) WITH (fillfactor = 10);
INSERT INTO countersign.directory_state (base, xact, timeline)
VALUES (0, pg_current_xact_id(), left(pg_walfile_name(pg_current_wal_insert_lsn()), 8));

-- Rows are never deleted. Only `countersign.log_change` writes them.
CREATE TABLE countersign.change_log (
    revision   bigint      NOT NULL PRIMARY KEY,
    at         timestamptz NOT NULL CHECK (isfinite(at)),
    actor_kind text        NOT NULL CHECK (actor_kind IN ('operator', 'client', 'sidecar', 'database')),
    actor_name text        NOT NULL,
    account    text COLLATE "C",
    kind       text        NOT NULL,
    -- The interaction that it ended, if it ended one.
    interaction_group text,
    interaction_id    text
);
CREATE INDEX change_log_by_account ON countersign.change_log (account, revision);

CREATE TABLE countersign.account (
    id                       countersign.identifier NOT NULL PRIMARY KEY,
    name                     text        NOT NULL CHECK (countersign.is_text(name, 200)),
    name_folded              text        NOT NULL COLLATE "C",
    created                  timestamptz NOT NULL DEFAULT clock_timestamp() CHECK (isfinite(created)),
    primary_admin            countersign.identifier,
    number_moves_locked      boolean     NOT NULL DEFAULT false,
    dedicated_representative boolean     NOT NULL DEFAULT false,
    contract_addresses_cpni  boolean     NOT NULL DEFAULT false,
    marketing_approved       date CHECK (isfinite(marketing_approved))
);
CREATE INDEX account_by_name ON countersign.account (name_folded);

CREATE TABLE countersign.number_of_record (
    account  countersign.identifier NOT NULL REFERENCES countersign.account (id),
    number   text NOT NULL COLLATE "C" CHECK (number ~ '^\+[1-9][0-9]{1,14}$'),
    added    date NOT NULL DEFAULT (clock_timestamp() AT TIME ZONE 'UTC')::date CHECK (isfinite(added)),
    position int  NOT NULL DEFAULT 0,
    PRIMARY KEY (account, number)
);
-- Not unique: a number on two accounts is ambiguous and selects nobody.
CREATE INDEX number_of_record_by_number ON countersign.number_of_record (number);

CREATE TABLE countersign.address_of_record (
    account  countersign.identifier NOT NULL REFERENCES countersign.account (id),
    position int  NOT NULL,
    kind     text NOT NULL CHECK (kind IN ('postal', 'email')),
    address  text NOT NULL CHECK (countersign.is_text(address, 500)),
    added    date NOT NULL DEFAULT (clock_timestamp() AT TIME ZONE 'UTC')::date CHECK (isfinite(added)),
    PRIMARY KEY (account, position)
);

CREATE TABLE countersign.site (
    account  countersign.identifier NOT NULL REFERENCES countersign.account (id),
    id       countersign.identifier NOT NULL,
    name     text NOT NULL CHECK (countersign.is_text(name, 200)),
    position int  NOT NULL DEFAULT 0,
    PRIMARY KEY (account, id)
);

CREATE TABLE countersign.contact (
    id             countersign.identifier NOT NULL PRIMARY KEY,
    account        countersign.identifier NOT NULL REFERENCES countersign.account (id),
    first_name     text        NOT NULL CHECK (countersign.is_text(first_name, 100)),
    first_folded   text        NOT NULL COLLATE "C",
    last_name      text        NOT NULL CHECK (countersign.is_text(last_name, 100)),
    last_folded    text        NOT NULL COLLATE "C",
    email          text CHECK (countersign.is_text(email, 254)),
    email_folded   text COLLATE "C",
    extension      text COLLATE "C" CHECK (extension ~ '^[0-9]{1,16}$'),
    user_id        text CHECK (countersign.is_text(user_id, 128)),
    user_id_folded text COLLATE "C",
    status         text        NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'inactive')),
    created        timestamptz NOT NULL DEFAULT clock_timestamp() CHECK (isfinite(created)),
    CHECK ((email IS NULL) = (email_folded IS NULL)),
    CHECK ((user_id IS NULL) = (user_id_folded IS NULL)),
    -- Pages of an account, and what the keys below refer to.
    UNIQUE (account, id)
);
CREATE UNIQUE INDEX contact_by_email ON countersign.contact (account, email_folded) WHERE email_folded IS NOT NULL;
CREATE UNIQUE INDEX contact_by_extension ON countersign.contact (account, extension) WHERE extension IS NOT NULL;
CREATE UNIQUE INDEX contact_by_user_id ON countersign.contact (account, user_id_folded) WHERE user_id_folded IS NOT NULL;
-- Not unique: two people of one name are ambiguous, and the name selects neither.
CREATE INDEX contact_by_name ON countersign.contact (account, last_folded, first_folded);
-- The primary administrator is a contact of the account.
ALTER TABLE countersign.account ADD CONSTRAINT primary_admin_is_of_the_account
    FOREIGN KEY (id, primary_admin) REFERENCES countersign.contact (account, id);

-- `site` NULL: the whole company.
CREATE TABLE countersign.role_assignment (
    contact countersign.identifier NOT NULL,
    role    countersign.identifier NOT NULL,
    account countersign.identifier NOT NULL,
    site    countersign.identifier,
    granted timestamptz NOT NULL DEFAULT clock_timestamp() CHECK (isfinite(granted)),
    FOREIGN KEY (account, contact) REFERENCES countersign.contact (account, id),
    FOREIGN KEY (account, site) REFERENCES countersign.site (account, id)
);
CREATE UNIQUE INDEX role_assignment_once ON countersign.role_assignment (contact, role, coalesce(site, ''));
CREATE INDEX role_assignment_by_site ON countersign.role_assignment (account, site) WHERE site IS NOT NULL;

CREATE TABLE countersign.interaction (
    client_group text        NOT NULL COLLATE "C",
    id           text        NOT NULL COLLATE "C",
    opened_by    text        NOT NULL,
    opened_at    timestamptz NOT NULL CHECK (isfinite(opened_at)),
    ended_at     timestamptz CHECK (isfinite(ended_at)),
    PRIMARY KEY (client_group, id)
);
CREATE INDEX interaction_by_age ON countersign.interaction (opened_at);

CREATE TABLE countersign.escalation (
    id            text        NOT NULL COLLATE "C" PRIMARY KEY,
    account       countersign.identifier NOT NULL,
    contact       countersign.identifier NOT NULL,
    primary_admin countersign.identifier NOT NULL,
    action        text        NOT NULL,
    resource      text        NOT NULL,
    client        text        NOT NULL,
    request_id    text        NOT NULL,
    opened        timestamptz NOT NULL CHECK (isfinite(opened)),
    expires       timestamptz NOT NULL CHECK (isfinite(expires)),
    -- Expired is what waits for too long: not stored. `settled_by` approved, refused or cancelled it.
    state         text        NOT NULL CHECK (state IN ('pending', 'approved', 'refused', 'cancelled', 'used')),
    settled_by    countersign.identifier,
    settled_at    timestamptz CHECK (isfinite(settled_at)),
    used_at       timestamptz CHECK (isfinite(used_at)),
    FOREIGN KEY (account, contact) REFERENCES countersign.contact (account, id),
    FOREIGN KEY (account, primary_admin) REFERENCES countersign.contact (account, id),
    FOREIGN KEY (account, settled_by) REFERENCES countersign.contact (account, id)
);
-- The resource may be long; an index entry may not.
CREATE INDEX escalation_waiting ON countersign.escalation (account, contact, action, md5(resource), expires)
    WHERE state IN ('pending', 'approved');
CREATE INDEX escalation_decided ON countersign.escalation (contact, action, settled_at) WHERE settled_at IS NOT NULL;
CREATE INDEX escalation_of_account ON countersign.escalation (account, opened, id);

-- Deliveries to the record that were asked for (F3). Not `due`: nothing is behind it; such a row is written all the same, so
-- that nobody and somebody take the same work. Rows are deleted after a day.
CREATE TABLE countersign.delivery (
    id      text        NOT NULL COLLATE "C" PRIMARY KEY,
    account text        NOT NULL COLLATE "C",
    kind    text        NOT NULL CHECK (kind IN ('ADDRESS_OF_RECORD', 'NUMBER_OF_RECORD')),
    opened  timestamptz NOT NULL CHECK (isfinite(opened)),
    due     boolean     NOT NULL
);
CREATE INDEX delivery_of_account ON countersign.delivery (account, opened) WHERE due;
CREATE INDEX delivery_by_age ON countersign.delivery (opened);

-- Which accounts an import made that has not ended: their dates are still taken from its rows (`--trust-dates`). No row of
-- the directory: nothing is decided by it.
CREATE TABLE countersign.import_founded (
    account countersign.identifier NOT NULL PRIMARY KEY REFERENCES countersign.account (id),
    import  text        NOT NULL,
    at      timestamptz NOT NULL
);
CREATE INDEX import_founded_by_import ON countersign.import_founded (import);

-- What each key must yield, so that a missing or a different key is noticed at start. Never the key itself.
CREATE TABLE countersign.key_check (
    purpose     text  NOT NULL COLLATE "C",
    key_id      text  NOT NULL COLLATE "C",
    check_value bytea NOT NULL,
    PRIMARY KEY (purpose, key_id)
);
