-- What other systems write by SQL is told of, too: what an account held before, and what of it and its people such a transaction
-- changed, is kept until a sidecar has written the notices; that takes it away in the same transaction. Only sidecars read it.

-- One row for each account that a transaction touched. `before` and `after`: what was on record, and who answered for it; `before`
-- is NULL where the account is new, `revision` where nothing came of it. `is_told`: of the account itself somebody was told; its
-- people are left.
CREATE TABLE countersign.sql_change (
    account  text    NOT NULL COLLATE "C",
    xact     xid8    NOT NULL,
    revision bigint,
    before   jsonb,
    after    jsonb,
    is_told  boolean NOT NULL DEFAULT false,
    PRIMARY KEY (account, xact)
);
-- One row for each contact (`key`: his id) and each role (contact, role and site) of it. `before` is as it was before the
-- transaction, NULL: it was not there; `after` as the transaction left it.
CREATE TABLE countersign.sql_change_row (
    account text  NOT NULL COLLATE "C",
    xact    xid8  NOT NULL,
    what    text  NOT NULL CHECK (what IN ('contact', 'role')),
    key     text  NOT NULL COLLATE "C",
    before  jsonb,
    after   jsonb,
    PRIMARY KEY (account, xact, what, key),
    FOREIGN KEY (account, xact) REFERENCES countersign.sql_change (account, xact) ON DELETE CASCADE
);

-- What is on record of an account, and who answers for it, as it is now; in the form in which the sidecar reads it.
CREATE FUNCTION countersign.held(p_account text) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT jsonb_build_object(
        'account', jsonb_build_object(
            'id', a.id, 'name', a.name, 'created', a.created, 'primary_admin', a.primary_admin,
            'numbers_of_record', coalesce((SELECT jsonb_agg(jsonb_build_object('number', n.number, 'added', n.added)
                                                            ORDER BY n.position, n.number)
                FROM countersign.number_of_record n WHERE n.account = a.id AND length(n.number) >= 8), '[]'),
            'addresses_of_record', coalesce((SELECT jsonb_agg(jsonb_build_object('kind', d.kind, 'address', d.address,
                                                                                 'added', d.added) ORDER BY d.position)
                FROM countersign.address_of_record d WHERE d.account = a.id), '[]'),
            'sites', '[]'::jsonb, 'number_moves_locked', a.number_moves_locked,
            'cpni_exemption', jsonb_build_object('dedicated_representative', a.dedicated_representative,
                                                 'contract_addresses_cpni', a.contract_addresses_cpni),
            'marketing_approved', a.marketing_approved),
        'primary_admin', (SELECT to_jsonb(p) FROM countersign.contact p WHERE p.id = a.primary_admin))
    FROM countersign.account a WHERE a.id = p_account);
END $$;

-- Keeps what an account held before this transaction, at the first row of it that is touched. A sidecar logs its change before it
-- writes a row, and tells of it itself.
CREATE FUNCTION countersign.keep_before() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_account text;
BEGIN
    IF TG_TABLE_NAME = 'account' THEN
        IF TG_OP = 'DELETE' THEN v_account := OLD.id; ELSE v_account := NEW.id; END IF;
    ELSE
        IF TG_OP = 'DELETE' THEN v_account := OLD.account; ELSE v_account := NEW.account; END IF;
    END IF;
    IF NOT EXISTS (SELECT FROM countersign.sql_change s
                   WHERE s.account = v_account AND s.xact = pg_current_xact_id())
       AND NOT EXISTS (SELECT FROM countersign.change_log c
                       WHERE c.account = v_account AND c.kind <> 'sql'
                         AND c.revision > (SELECT base FROM countersign.directory_state)) THEN
        INSERT INTO countersign.sql_change (account, xact, before)
            VALUES (v_account, pg_current_xact_id(), countersign.held(v_account));
    END IF;
    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
    RETURN NEW;
END $$;

-- Keeps how a contact was before this transaction, and how it leaves him.
CREATE FUNCTION countersign.keep_contact_change() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_before countersign.contact;
    v_after  countersign.contact;
BEGIN
    IF TG_OP <> 'INSERT' THEN v_before := OLD; END IF;
    IF TG_OP <> 'DELETE' THEN v_after := NEW; END IF;
    INSERT INTO countersign.sql_change_row (account, xact, what, key, before, after)
        SELECT s.account, s.xact, 'contact', coalesce(v_after.id, v_before.id)::text,
               CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(v_before) END,
               CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(v_after) END
        FROM countersign.sql_change s
        WHERE s.account = coalesce(v_after.account, v_before.account) AND s.xact = pg_current_xact_id()
        ON CONFLICT (account, xact, what, key) DO UPDATE SET after = EXCLUDED.after;
    RETURN NULL;
END $$;

-- The same of a role, with the contact as he was before this transaction.
CREATE FUNCTION countersign.keep_role_change() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_role countersign.role_assignment;
    v_json jsonb;
BEGIN
    IF TG_OP = 'DELETE' THEN v_role := OLD; ELSE v_role := NEW; END IF;
    SELECT jsonb_build_object('contact', v_role.contact, 'role', v_role.role, 'site', v_role.site, 'granted', v_role.granted,
                              'person', CASE WHEN k.key IS NULL THEN to_jsonb(p) ELSE k.before END)
        INTO v_json
        FROM countersign.contact p
        LEFT JOIN countersign.sql_change_row k
            ON k.account = p.account AND k.xact = pg_current_xact_id() AND k.what = 'contact' AND k.key = p.id::text
        WHERE p.id = v_role.contact;
    INSERT INTO countersign.sql_change_row (account, xact, what, key, before, after)
        SELECT s.account, s.xact, 'role', concat_ws(' ', v_role.contact, v_role.role, v_role.site),
               CASE TG_OP WHEN 'DELETE' THEN v_json END, CASE TG_OP WHEN 'INSERT' THEN v_json END
        FROM countersign.sql_change s WHERE s.account = v_role.account AND s.xact = pg_current_xact_id()
        ON CONFLICT (account, xact, what, key) DO UPDATE SET after = EXCLUDED.after;
    RETURN NULL;
END $$;

DO $$
DECLARE
    v_table text;
BEGIN
    FOREACH v_table IN ARRAY ARRAY['account', 'number_of_record', 'address_of_record', 'contact', 'role_assignment'] LOOP
        EXECUTE format('CREATE TRIGGER before_change BEFORE INSERT OR UPDATE OR DELETE ON countersign.%I
            FOR EACH ROW EXECUTE FUNCTION countersign.keep_before()', v_table);
    END LOOP;
END $$;
CREATE TRIGGER keep_added AFTER INSERT OR DELETE ON countersign.contact
    FOR EACH ROW EXECUTE FUNCTION countersign.keep_contact_change();
CREATE TRIGGER keep_changed AFTER UPDATE ON countersign.contact
    FOR EACH ROW WHEN (OLD.email IS DISTINCT FROM NEW.email OR OLD.user_id IS DISTINCT FROM NEW.user_id
                       OR OLD.status <> NEW.status)
    EXECUTE FUNCTION countersign.keep_contact_change();
CREATE TRIGGER keep_role AFTER INSERT OR DELETE ON countersign.role_assignment
    FOR EACH ROW EXECUTE FUNCTION countersign.keep_role_change();

-- Keeps what each account that a statement touched holds after it, with the revision. An account never changes its id, nor a row its
-- account.
CREATE FUNCTION countersign.keep_after() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE countersign.sql_change s SET revision = countersign.logged_revision(s.account), after = countersign.held(s.account)
        WHERE s.xact = pg_current_xact_id() AND s.account IN (SELECT r.account FROM touched r);
    RETURN NULL;
END $$;

CREATE FUNCTION countersign.keep_account_after() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE countersign.sql_change s SET revision = countersign.logged_revision(s.account), after = countersign.held(s.account)
        WHERE s.xact = pg_current_xact_id() AND s.account IN (SELECT r.id FROM touched r);
    RETURN NULL;
END $$;

DO $$
DECLARE
    v_table    text;
    v_function text;
BEGIN
    FOREACH v_table IN ARRAY ARRAY['account', 'number_of_record', 'address_of_record', 'contact', 'role_assignment'] LOOP
        v_function := CASE v_table WHEN 'account' THEN 'keep_account_after' ELSE 'keep_after' END;
        EXECUTE format('CREATE TRIGGER kept_insert AFTER INSERT ON countersign.%I REFERENCING NEW TABLE AS touched
            FOR EACH STATEMENT EXECUTE FUNCTION countersign.%I()', v_table, v_function);
        EXECUTE format('CREATE TRIGGER kept_update AFTER UPDATE ON countersign.%I REFERENCING NEW TABLE AS touched
            FOR EACH STATEMENT EXECUTE FUNCTION countersign.%I()', v_table, v_function);
        EXECUTE format('CREATE TRIGGER kept_delete AFTER DELETE ON countersign.%I REFERENCING OLD TABLE AS touched
            FOR EACH STATEMENT EXECUTE FUNCTION countersign.%I()', v_table, v_function);
    END LOOP;
END $$;
