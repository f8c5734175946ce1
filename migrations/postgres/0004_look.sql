-- All that a decision wants to know of the directory, in one statement and so in one snapshot. Every statement in it is run
-- whatever came of the one before: nobody and somebody take the same work (A12). The server keeps their plans, also behind a
-- pooler through which the sidecar can keep none.
--
-- p_account_by: id, number or name; p_contact_by: id, email, extension, user_id or name (p_contact_first holds the first
-- name). p_whose: nobody, selected or contact. What is not wanted is NULL.
CREATE FUNCTION countersign.look(
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
        v_accounts := ARRAY(SELECT a.id::text FROM countersign.account a WHERE a.name_folded = p_account LIMIT 2);
    ELSE
        v_accounts := ARRAY(SELECT n.account::text FROM countersign.number_of_record n WHERE n.number = p_account LIMIT 2);
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
        p.id::text, p.account::text, p.first_name, p.last_name, p.email, p.extension, p.user_id, p.status, p.created,
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
         WHERE c.id = countersign.credential_of(w.id) AND p.status = 'active' AND c.suspended_at IS NULL),
        (SELECT max(c.set_at) FROM countersign.credential c
         WHERE c.contact = w.id OR c.account = a.id AND c.contact IS NULL AND a.primary_admin = w.id),
        (SELECT coalesce(max(l.revision), 0) FROM countersign.change_log l)
    FROM (SELECT v_whose AS id) w
    LEFT JOIN countersign.contact p ON p.id = w.id
    LEFT JOIN countersign.account a ON a.id = p.account;
END $$;
