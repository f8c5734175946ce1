-- What each role of docs/postgres.md may do: run after the migrations, as their owner; may be run again. A role that does not
-- exist is left out. Nobody but the owner changes the log, or what is behind a trigger.

DO $$
BEGIN
    REVOKE ALL ON ALL FUNCTIONS IN SCHEMA countersign FROM PUBLIC;
    -- Called by constraints and triggers, with the rights of whoever writes.
    GRANT EXECUTE ON FUNCTION countersign.is_text, countersign.folded TO PUBLIC;

    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'countersign_sidecar') THEN
        GRANT USAGE ON SCHEMA countersign TO countersign_sidecar;
        GRANT SELECT ON ALL TABLES IN SCHEMA countersign TO countersign_sidecar;
        GRANT INSERT, UPDATE ON countersign.account, countersign.contact, countersign.credential, countersign.credential_keypad,
            countersign.escalation, countersign.activity TO countersign_sidecar;
        GRANT INSERT, UPDATE, DELETE ON countersign.site, countersign.role_assignment, countersign.interaction,
            countersign.credential_hash, countersign.credential_lane, countersign.verified_line,
            countersign.import_founded, countersign.notice,
            countersign.passphrase_reset, countersign.directory_request TO countersign_sidecar;
        GRANT UPDATE, DELETE ON countersign.sql_change, countersign.sql_change_row TO countersign_sidecar;
        GRANT INSERT, DELETE ON countersign.number_of_record, countersign.address_of_record, countersign.delivery
            TO countersign_sidecar;
        GRANT INSERT ON countersign.key_check TO countersign_sidecar;
        GRANT UPDATE ON countersign.credential_dummy TO countersign_sidecar;
        GRANT EXECUTE ON FUNCTION countersign.credential_of, countersign.look, countersign.reserve, countersign.reserve_keypad,
            countersign.settle, countersign.settle_keypad,
            countersign.lock_directory, countersign.log_change, countersign.log_changes, countersign.raise_generation TO countersign_sidecar;
    END IF;

    -- An HR or provisioning system: people and records come and go, roles are taken away. It grants none, names no primary
    -- administrator, sets no date, and sees nothing of passphrases.
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'countersign_provisioning') THEN
        GRANT USAGE ON SCHEMA countersign TO countersign_provisioning;
        GRANT SELECT ON countersign.account, countersign.number_of_record, countersign.address_of_record, countersign.site,
            countersign.contact, countersign.role_assignment, countersign.change_log TO countersign_provisioning;
        GRANT INSERT (id, name), UPDATE (name) ON countersign.account TO countersign_provisioning;
        GRANT INSERT (id, account, first_name, last_name, email, extension, user_id),
            UPDATE (first_name, last_name, email, extension, user_id, status)
            ON countersign.contact TO countersign_provisioning;
        GRANT INSERT (account, number, position), DELETE ON countersign.number_of_record TO countersign_provisioning;
        GRANT INSERT (account, position, kind, address), DELETE ON countersign.address_of_record
            TO countersign_provisioning;
        GRANT INSERT (account, id, name, position), UPDATE (name, position), DELETE ON countersign.site
            TO countersign_provisioning;
        GRANT DELETE ON countersign.role_assignment TO countersign_provisioning;
    END IF;
END $$;
