-- Since when an account is closed; NULL: it is not. Nobody of a closed account is verified by anything. What is on record of it
-- stays, so that an operator may reopen it; its passphrases do not.
ALTER TABLE countersign.account ADD COLUMN closed timestamptz CHECK (isfinite(closed));

-- Whoever closes an account, a sidecar or another system, ends in that transaction all that could verify somebody of it, and all
-- that waits.
CREATE FUNCTION countersign.account_closes() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_revision bigint := countersign.logged_revision(NEW.id);
BEGIN
    DELETE FROM countersign.credential_hash h USING countersign.credential c
        WHERE h.credential = c.id AND c.account = NEW.id;
    UPDATE countersign.credential_keypad k SET phc = NULL FROM countersign.credential c
        WHERE k.credential = c.id AND c.account = NEW.id;
    UPDATE countersign.credential c SET version = v_revision WHERE c.account = NEW.id;
    DELETE FROM countersign.verified_line v USING countersign.contact p WHERE v.contact = p.id AND p.account = NEW.id;
    UPDATE countersign.escalation e SET state = 'cancelled', settled_by = e.contact, settled_at = clock_timestamp()
        WHERE e.account = NEW.id AND e.state IN ('pending', 'approved');
    UPDATE countersign.passphrase_reset r SET used_at = clock_timestamp() WHERE r.account = NEW.id AND r.used_at IS NULL;
    DELETE FROM countersign.delivery d WHERE d.account = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER closes AFTER UPDATE OF closed ON countersign.account
    FOR EACH ROW WHEN (OLD.closed IS NULL AND NEW.closed IS NOT NULL)
    EXECUTE FUNCTION countersign.account_closes();

-- An account that comes back by SQL gets its roles back as new ones: they wait through a cool-off (A31). The sidecar has its own
-- rule.
CREATE FUNCTION countersign.account_reopens() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM 1 FROM countersign.change_log c
        WHERE c.account = NEW.id AND c.revision > (SELECT base FROM countersign.directory_state) AND c.kind <> 'sql';
    IF NOT FOUND THEN
        UPDATE countersign.role_assignment r SET granted = clock_timestamp() WHERE r.account = NEW.id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER reopens AFTER UPDATE OF closed ON countersign.account
    FOR EACH ROW WHEN (OLD.closed IS NOT NULL AND NEW.closed IS NULL)
    EXECUTE FUNCTION countersign.account_reopens();

-- As it was, with when the account was closed.
CREATE OR REPLACE FUNCTION countersign.held(p_account text) RETURNS jsonb
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
            'marketing_approved', a.marketing_approved, 'closed', a.closed),
        'primary_admin', (SELECT to_jsonb(p) FROM countersign.contact p WHERE p.id = a.primary_admin))
    FROM countersign.account a WHERE a.id = p_account);
END $$;

-- The next two as they were, but that whoever belongs to a closed account has left.
CREATE OR REPLACE FUNCTION countersign.reserve(
    p_contact text, p_dummy int, p_lane bytea, p_now timestamptz,
    p_free int, p_first bigint, p_longest bigint, p_apart bigint, p_close int, p_doublings int, p_most int)
RETURNS TABLE (outcome text, credential bigint, phc text, version bigint, failures int, until timestamptz)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    v_now    timestamptz := coalesce(p_now, clock_timestamp());
    v_status text;
    v_id     bigint;
    v_phc    text;
    v_found  record;
    v_failed int;
    v_until  timestamptz;
    v_told   text := 'nobody';
BEGIN
    SELECT CASE WHEN a.closed IS NULL THEN p.status ELSE 'inactive' END INTO v_status
        FROM countersign.contact p JOIN countersign.account a ON a.id = p.account WHERE p.id = p_contact;
    v_id := countersign.credential_of(p_contact);
    SELECT h.phc INTO v_phc FROM countersign.credential_hash h WHERE h.credential = v_id FOR NO KEY UPDATE;
    SELECT c.version, c.suspended_at, c.retired + coalesce(sum(l.failures), 0) AS counted INTO v_found
        FROM countersign.credential c LEFT JOIN countersign.credential_lane l ON l.credential = c.id
        WHERE c.id = v_id GROUP BY c.id;
    SELECT l.failures, l.locked_until INTO v_failed, v_until
        FROM countersign.credential_lane l WHERE l.credential = v_id AND l.lane = p_lane;
    v_failed := coalesce(v_failed, 0);
    -- A lock of more than the longest was set by a clock that was wrong, and is none; one by a call that took its time a little
    -- later is one.
    IF v_until <= v_now OR v_until > v_now + (p_longest + p_apart) * interval '1 microsecond' THEN v_until := NULL; END IF;
    v_told := CASE
        WHEN v_status IS NULL THEN 'nobody'
        WHEN v_status <> 'active' THEN 'inactive'
        WHEN v_id IS NULL THEN 'not_enrolled'
        WHEN v_phc IS NULL THEN 'cleared'
        WHEN v_found.suspended_at IS NOT NULL THEN 'suspended'
        WHEN v_failed >= p_close THEN 'closed'
        WHEN v_until IS NOT NULL THEN 'locked'
        WHEN v_found.counted >= p_most THEN 'closed'
        ELSE 'granted' END;
    IF v_told <> 'granted' THEN
        UPDATE countersign.credential_dummy d SET failures = (d.failures + 1) % 20, locked_until = v_now
            WHERE d.id = abs(p_dummy % 64);
        RETURN QUERY SELECT v_told, NULL::bigint, NULL::text, NULL::bigint, NULL::int, v_until;
        RETURN;
    END IF;
    v_until := CASE WHEN v_failed < p_free THEN 'epoch'::timestamptz
        ELSE v_now + least(p_longest, p_first << least(v_failed - p_free, p_doublings)) * interval '1 microsecond' END;
    INSERT INTO countersign.credential_lane AS l (credential, lane, failures, locked_until)
        VALUES (v_id, p_lane, v_failed + 1, v_until)
        ON CONFLICT ON CONSTRAINT credential_lane_pkey
        DO UPDATE SET failures = l.failures + 1, locked_until = excluded.locked_until;
    RETURN QUERY SELECT v_told, v_id, v_phc, v_found.version, v_failed + 1, NULL::timestamptz;
END $$;

CREATE OR REPLACE FUNCTION countersign.reserve_keypad(
    p_contact text, p_dummy int, p_lane bytea, p_now timestamptz,
    p_free int, p_first bigint, p_longest bigint, p_apart bigint, p_close int, p_doublings int, p_most int)
RETURNS TABLE (outcome text, credential bigint, phc text, version bigint, failures int, until timestamptz)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    v_now    timestamptz := coalesce(p_now, clock_timestamp());
    v_status text;
    v_id     bigint;
    v_phc    text;
    v_keypad record;
    v_found  record;
    v_failed int;
    v_until  timestamptz;
    v_told   text := 'nobody';
BEGIN
    SELECT CASE WHEN a.closed IS NULL THEN p.status ELSE 'inactive' END INTO v_status
        FROM countersign.contact p JOIN countersign.account a ON a.id = p.account WHERE p.id = p_contact;
    v_id := countersign.credential_of(p_contact);
    SELECT h.phc INTO v_phc FROM countersign.credential_hash h WHERE h.credential = v_id FOR NO KEY UPDATE;
    SELECT k.version, k.phc INTO v_keypad FROM countersign.credential_keypad k WHERE k.credential = v_id;
    SELECT c.version, c.suspended_at, c.retired + coalesce(sum(l.failures), 0) AS counted INTO v_found
        FROM countersign.credential c LEFT JOIN countersign.credential_lane l ON l.credential = c.id
        WHERE c.id = v_id GROUP BY c.id;
    SELECT l.failures, l.locked_until INTO v_failed, v_until
        FROM countersign.credential_lane l WHERE l.credential = v_id AND l.lane = p_lane;
    v_failed := coalesce(v_failed, 0);
    -- A lock of more than the longest was set by a clock that was wrong, and is none; one by a call that took its time a little
    -- later is one.
    IF v_until <= v_now OR v_until > v_now + (p_longest + p_apart) * interval '1 microsecond' THEN v_until := NULL; END IF;
    v_told := CASE
        WHEN v_status IS NULL THEN 'nobody'
        WHEN v_status <> 'active' THEN 'inactive'
        WHEN v_keypad.version IS NULL THEN 'not_enrolled'
        WHEN v_found.suspended_at IS NOT NULL THEN 'suspended'
        WHEN v_phc IS NULL OR v_keypad.phc IS NULL OR v_keypad.version <> v_found.version THEN 'cleared'
        WHEN v_failed >= p_close THEN 'closed'
        WHEN v_until IS NOT NULL THEN 'locked'
        WHEN v_found.counted >= p_most THEN 'closed'
        ELSE 'granted' END;
    IF v_told <> 'granted' THEN
        UPDATE countersign.credential_dummy d SET failures = (d.failures + 1) % 20, locked_until = v_now
            WHERE d.id = abs(p_dummy % 64);
        RETURN QUERY SELECT v_told, NULL::bigint, NULL::text, NULL::bigint, NULL::int, v_until;
        RETURN;
    END IF;
    v_until := CASE WHEN v_failed < p_free THEN 'epoch'::timestamptz
        ELSE v_now + least(p_longest, p_first << least(v_failed - p_free, p_doublings)) * interval '1 microsecond' END;
    INSERT INTO countersign.credential_lane AS l (credential, lane, failures, locked_until, by_keypad)
        VALUES (v_id, p_lane, v_failed + 1, v_until, 1)
        ON CONFLICT ON CONSTRAINT credential_lane_pkey
        DO UPDATE SET failures = l.failures + 1, locked_until = excluded.locked_until, by_keypad = l.by_keypad + 1;
    RETURN QUERY SELECT v_told, v_id, v_keypad.phc, v_found.version, v_failed + 1, NULL::timestamptz;
END $$;

-- As it was, but that whoever belongs to a closed account has left, so that a sidecar of the version before, which does not know that
-- accounts are closed, turns him away, too; and that neither name nor number selects a closed account: both may be another's by now.
CREATE OR REPLACE FUNCTION countersign.look(
    p_account_by text, p_account text, p_contact_by text, p_contact text, p_contact_first text,
    p_whose text, p_whose_id text,
    p_group text, p_interaction text, p_opened_since timestamptz,
    p_attempt boolean, p_line bytea, p_familiar_since timestamptz)
RETURNS TABLE (
    selected_account text, selected_contact text,
    opened_by text, opened_at timestamptz, ended_at timestamptz,
    verified_on_line boolean, contacts_with_passphrase int,
    contact_id text, account text, first_name text, last_name text, email text, extension text, user_id text, status text,
    created timestamptz, roles text[], role_sites text[], roles_granted timestamptz[],
    account_id text, account_name text, account_created timestamptz, primary_admin text, number_moves_locked boolean,
    dedicated_representative boolean, contract_addresses_cpni boolean, marketing_approved date,
    numbers text[], numbers_added date[], address_kinds text[], addresses text[], addresses_added date[],
    sites text[], site_names text[],
    current_version bigint, last_set timestamptz, revision bigint)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    v_accounts  text[];
    v_account   text;
    v_contacts  text[];
    v_contact   text;
    v_whose     text;
    v_opened_by text;
    v_opened_at timestamptz;
    v_ended_at  timestamptz;
    v_on_line   boolean;
    v_enrolled  int;
BEGIN
    IF p_account_by = 'id' THEN
        v_accounts := ARRAY(SELECT a.id::text FROM countersign.account a WHERE a.id = p_account);
    ELSIF p_account_by = 'name' THEN
        v_accounts := ARRAY(SELECT a.id::text FROM countersign.account a
            WHERE a.name_folded = p_account AND a.closed IS NULL LIMIT 2);
    ELSE
        v_accounts := ARRAY(SELECT n.account::text FROM countersign.number_of_record n
            JOIN countersign.account a ON a.id = n.account AND a.closed IS NULL WHERE n.number = p_account LIMIT 2);
    END IF;
    -- Two of one name or number are nobody.
    IF cardinality(v_accounts) = 1 THEN v_account := v_accounts[1]; END IF;

    IF p_contact_by = 'id' THEN
        v_contacts := ARRAY(SELECT p.id::text FROM countersign.contact p WHERE p.account = v_account AND p.id = p_contact);
    ELSIF p_contact_by = 'email' THEN
        v_contacts := ARRAY(SELECT p.id::text FROM countersign.contact p
            WHERE p.account = v_account AND p.email_folded = p_contact);
    ELSIF p_contact_by = 'extension' THEN
        v_contacts := ARRAY(SELECT p.id::text FROM countersign.contact p
            WHERE p.account = v_account AND p.extension = p_contact);
    ELSIF p_contact_by = 'user_id' THEN
        v_contacts := ARRAY(SELECT p.id::text FROM countersign.contact p
            WHERE p.account = v_account AND p.user_id_folded = p_contact);
    ELSIF p_contact_by = 'name' THEN
        v_contacts := ARRAY(SELECT p.id::text FROM countersign.contact p
            WHERE p.account = v_account AND p.last_folded = p_contact AND p.first_folded = p_contact_first LIMIT 2);
    END IF;
    IF cardinality(v_contacts) = 1 THEN v_contact := v_contacts[1]; END IF;

    IF p_interaction IS NOT NULL THEN
        SELECT i.opened_by, i.opened_at, i.ended_at INTO v_opened_by, v_opened_at, v_ended_at
            FROM countersign.interaction i
            WHERE i.client_group = p_group AND i.id = p_interaction AND i.opened_at >= p_opened_since;
    END IF;

    v_whose := CASE p_whose WHEN 'selected' THEN coalesce(v_contact, '') WHEN 'contact' THEN p_whose_id END;
    IF p_attempt THEN
        v_on_line := EXISTS (SELECT FROM countersign.verified_line v
            WHERE v.contact = v_whose AND v.line = p_line AND v.verified_at >= p_familiar_since);
        SELECT count(*)::int INTO v_enrolled
            FROM countersign.credential c
            JOIN countersign.credential_hash h ON h.credential = c.id
            JOIN countersign.contact p ON p.id = c.contact AND p.status = 'active'
            WHERE c.account = (SELECT w.account FROM countersign.contact w WHERE w.id = v_whose);
    END IF;

    IF v_whose IS NULL THEN
        RETURN QUERY SELECT v_account, v_contact, v_opened_by, v_opened_at, v_ended_at, v_on_line, v_enrolled,
            NULL::text, NULL::text, NULL::text, NULL::text, NULL::text, NULL::text, NULL::text, NULL::text,
            NULL::timestamptz, NULL::text[], NULL::text[], NULL::timestamptz[],
            NULL::text, NULL::text, NULL::timestamptz, NULL::text, NULL::boolean, NULL::boolean, NULL::boolean, NULL::date,
            NULL::text[], NULL::date[], NULL::text[], NULL::text[], NULL::date[], NULL::text[], NULL::text[],
            NULL::bigint, NULL::timestamptz, NULL::bigint;
        RETURN;
    END IF;
    RETURN QUERY SELECT
        v_account, v_contact, v_opened_by, v_opened_at, v_ended_at, v_on_line, v_enrolled,
        p.id::text, p.account::text, p.first_name, p.last_name, p.email, p.extension, p.user_id,
        CASE WHEN a.closed IS NULL THEN p.status ELSE 'inactive' END, p.created,
        ARRAY(SELECT r.role::text FROM countersign.role_assignment r WHERE r.contact = w.id ORDER BY r.role, r.site NULLS FIRST),
        ARRAY(SELECT r.site::text FROM countersign.role_assignment r WHERE r.contact = w.id ORDER BY r.role, r.site NULLS FIRST),
        ARRAY(SELECT r.granted FROM countersign.role_assignment r WHERE r.contact = w.id ORDER BY r.role, r.site NULLS FIRST),
        a.id::text, a.name, a.created, a.primary_admin::text, a.number_moves_locked, a.dedicated_representative,
        a.contract_addresses_cpni, a.marketing_approved,
        ARRAY(SELECT n.number FROM countersign.number_of_record n WHERE n.account = a.id ORDER BY n.position, n.number),
        ARRAY(SELECT n.added FROM countersign.number_of_record n WHERE n.account = a.id ORDER BY n.position, n.number),
        ARRAY(SELECT d.kind FROM countersign.address_of_record d WHERE d.account = a.id ORDER BY d.position),
        ARRAY(SELECT d.address FROM countersign.address_of_record d WHERE d.account = a.id ORDER BY d.position),
        ARRAY(SELECT d.added FROM countersign.address_of_record d WHERE d.account = a.id ORDER BY d.position),
        ARRAY(SELECT s.id::text FROM countersign.site s WHERE s.account = a.id ORDER BY s.position, s.id),
        ARRAY(SELECT s.name FROM countersign.site s WHERE s.account = a.id ORDER BY s.position, s.id),
        (SELECT c.version FROM countersign.credential c JOIN countersign.credential_hash h ON h.credential = c.id
         WHERE c.id = countersign.credential_of(w.id) AND p.status = 'active' AND a.closed IS NULL AND c.suspended_at IS NULL),
        (SELECT max(greatest(c.set_at, k.set_at)) FROM countersign.credential c
         LEFT JOIN countersign.credential_keypad k ON k.credential = c.id
         WHERE c.contact = w.id OR c.account = a.id AND c.contact IS NULL AND a.primary_admin = w.id),
        (SELECT coalesce(max(l.revision), 0) FROM countersign.change_log l)
    FROM (SELECT v_whose AS id) w
    LEFT JOIN countersign.contact p ON p.id = w.id
    LEFT JOIN countersign.account a ON a.id = p.account;
END $$;
