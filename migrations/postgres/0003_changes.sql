-- Every change of the directory is logged in its transaction, whoever makes it, and none may break an invariant.

-- Takes the place in the line: until the end of this transaction nobody else changes the directory. Taken before any row is,
-- so that no two changes ever wait for each other.
CREATE FUNCTION countersign.lock_directory() RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_state    countersign.directory_state;
    v_newest   bigint;
    v_timeline text := left(pg_walfile_name(pg_current_wal_insert_lsn()), 8);
BEGIN
    SELECT * INTO STRICT v_state FROM countersign.directory_state FOR UPDATE;
    IF v_state.xact = pg_current_xact_id() THEN RETURN; END IF;
    SELECT greatest(v_state.base, coalesce(max(revision), 0)) INTO v_newest FROM countersign.change_log;
    -- Far above what a standby can lag behind.
    IF v_state.timeline <> v_timeline THEN v_newest := v_newest + 1048576; END IF;
    UPDATE countersign.directory_state SET base = v_newest, xact = pg_current_xact_id(), timeline = v_timeline;
END $$;

-- Appends to the log, and says the revision. The hint wakes whoever listens, once the change is committed.
CREATE FUNCTION countersign.log_change(
    p_account text, p_kind text, p_actor_kind text, p_actor_name text, p_at timestamptz,
    p_interaction_group text DEFAULT NULL, p_interaction_id text DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_revision bigint;
BEGIN
    PERFORM countersign.lock_directory();
    INSERT INTO countersign.change_log (revision, at, actor_kind, actor_name, account, kind,
                                        interaction_group, interaction_id)
        SELECT greatest((SELECT base FROM countersign.directory_state),
                        (SELECT coalesce(max(revision), 0) FROM countersign.change_log)) + 1,
               coalesce(p_at, clock_timestamp()), p_actor_kind, p_actor_name, p_account, p_kind,
               p_interaction_group, p_interaction_id
        RETURNING revision INTO v_revision;
    PERFORM pg_notify('countersign_changes', '');
    RETURN v_revision;
END $$;

-- The revision at which this transaction changes the account. A change that nobody has logged is one of a database role.
CREATE FUNCTION countersign.logged_revision(p_account text) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_revision bigint;
BEGIN
    PERFORM countersign.lock_directory();
    SELECT max(c.revision) INTO v_revision FROM countersign.change_log c
        WHERE c.account = p_account AND c.revision > (SELECT base FROM countersign.directory_state);
    IF v_revision IS NULL THEN
        v_revision := countersign.log_change(p_account, 'sql', 'database', session_user, NULL);
    END IF;
    RETURN v_revision;
END $$;

CREATE FUNCTION countersign.before_change() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM countersign.lock_directory();
    RETURN NULL;
END $$;

-- One revision for each account that a statement touched and whose change is not logged yet. The argument names the column
-- of the account.
CREATE FUNCTION countersign.after_change() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_rows text := CASE TG_OP
        WHEN 'INSERT' THEN format('SELECT %I AS account FROM new_rows', TG_ARGV[0])
        WHEN 'DELETE' THEN format('SELECT %I AS account FROM old_rows', TG_ARGV[0])
        ELSE format('SELECT %1$I AS account FROM new_rows UNION SELECT %1$I FROM old_rows', TG_ARGV[0]) END;
BEGIN
    EXECUTE format('SELECT countersign.logged_revision(account) FROM (SELECT DISTINCT account FROM (%s) t) d', v_rows);
    RETURN NULL;
END $$;

DO $$
DECLARE
    v_table  text;
    v_column text;
BEGIN
    FOREACH v_table IN ARRAY ARRAY['account', 'number_of_record', 'address_of_record', 'site', 'contact', 'role_assignment',
                                   'escalation', 'credential'] LOOP
        v_column := CASE v_table WHEN 'account' THEN 'id' ELSE 'account' END;
        EXECUTE format('CREATE TRIGGER a_lock BEFORE INSERT OR UPDATE OR DELETE ON countersign.%I
            FOR EACH STATEMENT EXECUTE FUNCTION countersign.before_change()', v_table);
        EXECUTE format('CREATE TRIGGER log_insert AFTER INSERT ON countersign.%I REFERENCING NEW TABLE AS new_rows
            FOR EACH STATEMENT EXECUTE FUNCTION countersign.after_change(%L)', v_table, v_column);
        EXECUTE format('CREATE TRIGGER log_update AFTER UPDATE ON countersign.%I
            REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
            FOR EACH STATEMENT EXECUTE FUNCTION countersign.after_change(%L)', v_table, v_column);
        EXECUTE format('CREATE TRIGGER log_delete AFTER DELETE ON countersign.%I REFERENCING OLD TABLE AS old_rows
            FOR EACH STATEMENT EXECUTE FUNCTION countersign.after_change(%L)', v_table, v_column);
    END LOOP;
    -- Nothing of the log, and nothing of the directory, goes by a statement that no trigger of a row sees.
    FOREACH v_table IN ARRAY ARRAY['account', 'number_of_record', 'address_of_record', 'site', 'contact', 'role_assignment',
                                   'escalation', 'credential', 'change_log', 'directory_state'] LOOP
        EXECUTE format('CREATE FUNCTION countersign.keep_%1$s() RETURNS trigger LANGUAGE plpgsql AS
            $f$ BEGIN RAISE EXCEPTION ''%1$s is never truncated'' USING ERRCODE = ''check_violation''; END $f$', v_table);
        EXECUTE format('CREATE TRIGGER keep BEFORE TRUNCATE ON countersign.%1$I
            FOR EACH STATEMENT EXECUTE FUNCTION countersign.keep_%1$s()', v_table);
    END LOOP;
END $$;

-- What a writer leaves out of the folded forms is filled in.
CREATE FUNCTION countersign.fold_account() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.name_folded IS NULL OR TG_OP = 'UPDATE' AND NEW.name_folded = OLD.name_folded AND NEW.name <> OLD.name THEN
        NEW.name_folded := countersign.folded(NEW.name);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER fold BEFORE INSERT OR UPDATE ON countersign.account
    FOR EACH ROW EXECUTE FUNCTION countersign.fold_account();

CREATE FUNCTION countersign.fold_contact() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_old countersign.contact;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        v_old := OLD;
        IF NEW.account <> OLD.account OR NEW.id <> OLD.id THEN
            RAISE EXCEPTION 'a contact never moves' USING ERRCODE = 'check_violation';
        END IF;
    END IF;
    IF NEW.first_folded IS NULL OR NEW.first_folded = v_old.first_folded AND NEW.first_name <> v_old.first_name THEN
        NEW.first_folded := countersign.folded(NEW.first_name);
    END IF;
    IF NEW.last_folded IS NULL OR NEW.last_folded = v_old.last_folded AND NEW.last_name <> v_old.last_name THEN
        NEW.last_folded := countersign.folded(NEW.last_name);
    END IF;
    IF NEW.email IS NULL OR NEW.email_folded IS NULL
        OR NEW.email_folded = v_old.email_folded AND NEW.email <> v_old.email THEN
        NEW.email_folded := countersign.folded(NEW.email);
    END IF;
    IF NEW.user_id IS NULL OR NEW.user_id_folded IS NULL
        OR NEW.user_id_folded = v_old.user_id_folded AND NEW.user_id <> v_old.user_id THEN
        NEW.user_id_folded := countersign.folded(NEW.user_id);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER fold BEFORE INSERT OR UPDATE ON countersign.contact
    FOR EACH ROW EXECUTE FUNCTION countersign.fold_contact();

-- A day of record belongs to one number or address (F12): another one is another row, with its own day.
CREATE FUNCTION countersign.keep_record() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what is on record is replaced by a DELETE and an INSERT' USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER keep_number BEFORE UPDATE OF account, number ON countersign.number_of_record
    FOR EACH ROW WHEN (OLD.number <> NEW.number OR OLD.account <> NEW.account)
    EXECUTE FUNCTION countersign.keep_record();
CREATE TRIGGER keep_address BEFORE UPDATE OF account, address ON countersign.address_of_record
    FOR EACH ROW WHEN (OLD.address <> NEW.address OR OLD.account <> NEW.account)
    EXECUTE FUNCTION countersign.keep_record();

-- Who leaves loses verification at once (S12); the primary administrator leaves only after a successor is named (S13).
CREATE FUNCTION countersign.contact_leaves() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_revision bigint;
BEGIN
    PERFORM 1 FROM countersign.account a WHERE a.id = NEW.account AND a.primary_admin = NEW.id;
    IF FOUND THEN
        RAISE EXCEPTION 'the primary administrator must be active: name another first' USING ERRCODE = 'check_violation';
    END IF;
    v_revision := countersign.logged_revision(NEW.account);
    DELETE FROM countersign.credential_hash h USING countersign.credential c
        WHERE h.credential = c.id AND c.contact = NEW.id;
    DELETE FROM countersign.verified_line v WHERE v.contact = NEW.id;
    UPDATE countersign.credential c SET version = v_revision WHERE c.contact = NEW.id;
    UPDATE countersign.escalation e SET state = 'cancelled', settled_by = NEW.id, settled_at = clock_timestamp()
        WHERE e.contact = NEW.id AND e.account = NEW.account AND e.state IN ('pending', 'approved');
    RETURN NULL;
END $$;
CREATE TRIGGER leaves AFTER UPDATE OF status ON countersign.contact
    FOR EACH ROW WHEN (OLD.status = 'active' AND NEW.status = 'inactive')
    EXECUTE FUNCTION countersign.contact_leaves();

-- A new primary administrator is active, and the account's passphrase is suspended until it is changed (S14).
CREATE FUNCTION countersign.primary_admin_changes() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_revision bigint;
BEGIN
    IF NEW.primary_admin IS NULL THEN
        IF TG_OP = 'UPDATE' THEN
            RAISE EXCEPTION 'an account with a primary administrator keeps one' USING ERRCODE = 'check_violation';
        END IF;
        RETURN NULL;
    END IF;
    PERFORM 1 FROM countersign.contact p WHERE p.id = NEW.primary_admin AND p.status = 'active';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the primary administrator must be active' USING ERRCODE = 'check_violation';
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.primary_admin IS NOT NULL THEN
        v_revision := countersign.logged_revision(NEW.id);
        UPDATE countersign.credential c SET suspended_at = clock_timestamp(), version = v_revision
            WHERE c.account = NEW.id AND c.contact IS NULL AND c.suspended_at IS NULL;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER primary_admin_set AFTER INSERT ON countersign.account
    FOR EACH ROW WHEN (NEW.primary_admin IS NOT NULL) EXECUTE FUNCTION countersign.primary_admin_changes();
CREATE TRIGGER primary_admin_changes AFTER UPDATE OF primary_admin ON countersign.account
    FOR EACH ROW WHEN (OLD.primary_admin IS DISTINCT FROM NEW.primary_admin)
    EXECUTE FUNCTION countersign.primary_admin_changes();

-- Whoever comes back by SQL gets his roles back as new ones: they wait through a cool-off (A31). The sidecar has its own rule.
CREATE FUNCTION countersign.contact_returns() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM 1 FROM countersign.change_log c
        WHERE c.account = NEW.account AND c.revision > (SELECT base FROM countersign.directory_state) AND c.kind <> 'sql';
    IF NOT FOUND THEN
        UPDATE countersign.role_assignment r SET granted = clock_timestamp() WHERE r.contact = NEW.id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER returns AFTER UPDATE OF status ON countersign.contact
    FOR EACH ROW WHEN (OLD.status = 'inactive' AND NEW.status = 'active')
    EXECUTE FUNCTION countersign.contact_returns();
