-- The outbox: whoever is told of a change, one row for each recipient, written in the transaction of the change.
-- `is_gathered`: what happens within a day is told as one, with its `count`. `leased_until`: somebody is delivering it; of an
-- attempt that ends later, nothing counts.
CREATE TABLE countersign.notice (
    id           text        NOT NULL COLLATE "C" PRIMARY KEY DEFAULT replace(gen_random_uuid()::text, '-', ''),
    kind         text        NOT NULL,
    account      countersign.identifier NOT NULL,
    about        countersign.identifier,
    recipient    countersign.identifier,
    way          text        NOT NULL CHECK (way IN ('email', 'number', 'postal')),
    target       text        NOT NULL,
    is_gathered  boolean     NOT NULL,
    count        int         NOT NULL CHECK (count >= 1),
    revision     bigint,
    created      timestamptz NOT NULL CHECK (isfinite(created)),
    due          timestamptz NOT NULL CHECK (isfinite(due)),
    state        text        NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
    attempts     int         NOT NULL,
    leased_until timestamptz NOT NULL,
    last_error   text,
    settled      timestamptz CHECK (isfinite(settled))
);
CREATE INDEX notice_due ON countersign.notice (due) WHERE state = 'pending';
-- An address may be long; an index entry may not.
CREATE INDEX notice_gathered ON countersign.notice (account, kind, md5(target), due) WHERE is_gathered;
-- Which addresses a contact had before.
CREATE INDEX notice_former ON countersign.notice (about, created) WHERE kind = 'email_changed';
CREATE INDEX notice_by_age ON countersign.notice (created, id);
CREATE INDEX notice_settled ON countersign.notice (settled) WHERE state = 'delivered';

-- Of how many failures somebody was told. Only lanes that are, or were, locked are looked for.
ALTER TABLE countersign.credential_lane ADD COLUMN told int NOT NULL DEFAULT 0;
CREATE INDEX credential_lane_untold ON countersign.credential_lane (credential)
    WHERE locked_until > 'epoch' AND failures > told;
