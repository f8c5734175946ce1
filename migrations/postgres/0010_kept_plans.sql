-- The same rules in functions whose plans the server keeps. A function in SQL that asks tables is planned anew at every call, and
-- so is what is put together as text: most of what a look-up and the log of a change cost.

CREATE OR REPLACE FUNCTION countersign.credential_of(p_contact text) RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    RETURN coalesce(
        (SELECT c.id FROM countersign.credential c WHERE c.contact = p_contact),
        (SELECT c.id FROM countersign.contact p
         JOIN countersign.account a ON a.id = p.account AND a.primary_admin = p.id
         JOIN countersign.credential c ON c.account = a.id AND c.contact IS NULL
         WHERE p.id = p_contact));
END $$;

-- The argument names the column of the account: `id` of the accounts themselves, `account` of everything else.
CREATE OR REPLACE FUNCTION countersign.after_change() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_ARGV[0] = 'id' THEN
        IF TG_OP = 'INSERT' THEN
            PERFORM countersign.logged_revision(d.id) FROM (SELECT DISTINCT id FROM new_rows) d;
        ELSIF TG_OP = 'DELETE' THEN
            PERFORM countersign.logged_revision(d.id) FROM (SELECT DISTINCT id FROM old_rows) d;
        ELSE
            PERFORM countersign.logged_revision(d.id)
                FROM (SELECT id FROM new_rows UNION SELECT id FROM old_rows) d;
        END IF;
    ELSIF TG_OP = 'INSERT' THEN
        PERFORM countersign.logged_revision(d.account) FROM (SELECT DISTINCT account FROM new_rows) d;
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM countersign.logged_revision(d.account) FROM (SELECT DISTINCT account FROM old_rows) d;
    ELSE
        PERFORM countersign.logged_revision(d.account)
            FROM (SELECT account FROM new_rows UNION SELECT account FROM old_rows) d;
    END IF;
    RETURN NULL;
END $$;
