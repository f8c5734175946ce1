-- Imports write many rows by one statement. The log of such changes is written by one, too, and what is kept for those whom other
-- systems' changes concern (0012) is looked for once a statement, or by one question a row instead of two.

-- Appends a change of one kind for each account, in their order, without a gap. Says the first revision.
CREATE FUNCTION countersign.log_changes(
    p_accounts text[], p_kind text, p_actor_kind text, p_actor_name text, p_at timestamptz)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_before bigint;
BEGIN
    PERFORM countersign.lock_directory();
    SELECT greatest((SELECT base FROM countersign.directory_state),
                    (SELECT coalesce(max(revision), 0) FROM countersign.change_log)) INTO v_before;
    INSERT INTO countersign.change_log (revision, at, actor_kind, actor_name, account, kind)
        SELECT v_before + n.position, coalesce(p_at, clock_timestamp()), p_actor_kind, p_actor_name, n.account, p_kind
        FROM unnest(p_accounts) WITH ORDINALITY AS n (account, position);
    PERFORM pg_notify('countersign_changes', '');
    RETURN v_before + 1;
END $$;

-- As it was; what a sidecar has logged is found first.
CREATE OR REPLACE FUNCTION countersign.keep_before() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_account text;
BEGIN
    IF TG_TABLE_NAME = 'account' THEN
        IF TG_OP = 'DELETE' THEN v_account := OLD.id; ELSE v_account := NEW.id; END IF;
    ELSE
        IF TG_OP = 'DELETE' THEN v_account := OLD.account; ELSE v_account := NEW.account; END IF;
    END IF;
    IF NOT EXISTS (SELECT FROM countersign.change_log c
                   WHERE c.account = v_account AND c.kind <> 'sql'
                     AND c.revision > (SELECT base FROM countersign.directory_state))
       AND NOT EXISTS (SELECT FROM countersign.sql_change s
                       WHERE s.account = v_account AND s.xact = pg_current_xact_id()) THEN
        INSERT INTO countersign.sql_change (account, xact, before)
            VALUES (v_account, pg_current_xact_id(), countersign.held(v_account));
    END IF;
    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
    RETURN NEW;
END $$;

-- The same for contacts that a statement adds, once for each account: what an account held does not change by them, so that it may be
-- looked at afterwards. Of triggers that run after a statement this is the first by its name.
CREATE FUNCTION countersign.keep_before_contacts() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO countersign.sql_change (account, xact, before)
        SELECT d.account, pg_current_xact_id(), countersign.held(d.account)
        FROM (SELECT DISTINCT account FROM touched) d
        WHERE NOT EXISTS (SELECT FROM countersign.change_log c
                          WHERE c.account = d.account AND c.kind <> 'sql'
                            AND c.revision > (SELECT base FROM countersign.directory_state))
        ON CONFLICT (account, xact) DO NOTHING;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER before_change BEFORE UPDATE OR DELETE ON countersign.contact
    FOR EACH ROW EXECUTE FUNCTION countersign.keep_before();
CREATE TRIGGER before_change_rows AFTER INSERT ON countersign.contact REFERENCING NEW TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION countersign.keep_before_contacts();

-- Of contacts that a statement adds, once for all of them.
CREATE FUNCTION countersign.keep_contacts_added() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO countersign.sql_change_row (account, xact, what, key, before, after)
        SELECT s.account, s.xact, 'contact', t.id::text, NULL, to_jsonb(t)
        FROM countersign.sql_change s JOIN touched t ON t.account = s.account
        WHERE s.xact = pg_current_xact_id()
        ON CONFLICT (account, xact, what, key) DO UPDATE SET after = EXCLUDED.after;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER keep_added AFTER DELETE ON countersign.contact
    FOR EACH ROW EXECUTE FUNCTION countersign.keep_contact_change();
CREATE TRIGGER keep_added_rows AFTER INSERT ON countersign.contact REFERENCING NEW TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION countersign.keep_contacts_added();
