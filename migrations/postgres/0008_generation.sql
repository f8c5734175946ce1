-- Which life of the directory this is. Putting a copy back (pg_restore, a snapshot) begins another: directory::generation.
ALTER TABLE countersign.directory_state
    ADD COLUMN generation bigint NOT NULL DEFAULT 0,
    ADD COLUMN mark       bytea  NOT NULL DEFAULT '\x';

-- Begins another generation, and says its first revision. Approvals that wait expire: they may have been used after the copy
-- was made.
CREATE FUNCTION countersign.raise_generation(p_mark bytea, p_actor_kind text, p_actor_name text, p_at timestamptz)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_revision bigint;
BEGIN
    PERFORM countersign.lock_directory();
    UPDATE countersign.directory_state
        SET base = base + 4294967296, generation = generation + 1, mark = p_mark;
    v_revision := countersign.log_change(NULL, 'raise_generation', p_actor_kind, p_actor_name, p_at);
    UPDATE countersign.escalation SET expires = least(expires, coalesce(p_at, clock_timestamp()))
        WHERE state IN ('pending', 'approved');
    RETURN v_revision;
END $$;
