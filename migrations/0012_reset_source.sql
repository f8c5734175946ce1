-- From where a reset was asked for: keyed digests of the call and of the number with its attestation, and whether the contact is
-- known to call from there. A reset that was refused to its source does not charge it.
ALTER TABLE passphrase_reset ADD COLUMN interaction BLOB;
ALTER TABLE passphrase_reset ADD COLUMN line BLOB;
ALTER TABLE passphrase_reset ADD COLUMN familiar INTEGER NOT NULL DEFAULT 0 CHECK (familiar IN (0, 1));
ALTER TABLE passphrase_reset ADD COLUMN charged INTEGER NOT NULL DEFAULT 1 CHECK (charged IN (0, 1));
CREATE INDEX passphrase_reset_of_interaction ON passphrase_reset (interaction, opened) WHERE charged = 1;
CREATE INDEX passphrase_reset_of_line ON passphrase_reset (line, opened) WHERE charged = 1;
CREATE INDEX passphrase_reset_of_client ON passphrase_reset (client, opened) WHERE charged = 1 AND familiar = 0;
