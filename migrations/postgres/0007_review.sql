-- What an account review asks for.

-- Since when the primary administrator is in office. Unknown where the log does not say.
ALTER TABLE countersign.account ADD COLUMN primary_admin_since timestamptz CHECK (isfinite(primary_admin_since));

-- Whoever changes the office by SQL, or is a sidecar of the version before, sets the day all the same.
CREATE FUNCTION countersign.office_begins() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.primary_admin IS NOT NULL
       AND (TG_OP = 'INSERT' OR NEW.primary_admin_since IS NOT DISTINCT FROM OLD.primary_admin_since) THEN
        NEW.primary_admin_since := coalesce(CASE WHEN TG_OP = 'INSERT' THEN NEW.primary_admin_since END, clock_timestamp());
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER office_begins_first BEFORE INSERT ON countersign.account
    FOR EACH ROW EXECUTE FUNCTION countersign.office_begins();
CREATE TRIGGER office_begins BEFORE UPDATE OF primary_admin ON countersign.account
    FOR EACH ROW WHEN (OLD.primary_admin IS DISTINCT FROM NEW.primary_admin)
    EXECUTE FUNCTION countersign.office_begins();

-- What verified contacts asked for: the last days on which each was verified for it and allowed it. No row of the directory:
-- nothing is decided by it.
CREATE TABLE countersign.activity (
    contact  countersign.identifier NOT NULL REFERENCES countersign.contact (id),
    action   text NOT NULL COLLATE "C",
    verified date NOT NULL,
    allowed  date,
    PRIMARY KEY (contact, action)
) WITH (fillfactor = 80);
