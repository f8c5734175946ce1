-- From where a reset was asked for: keyed digests of the call and of the number with its attestation, and whether the contact is
-- known to call from there. A reset that was refused to its source does not charge it.
ALTER TABLE countersign.passphrase_reset ADD COLUMN interaction bytea;
ALTER TABLE countersign.passphrase_reset ADD COLUMN line bytea;
ALTER TABLE countersign.passphrase_reset ADD COLUMN familiar boolean NOT NULL DEFAULT false;
ALTER TABLE countersign.passphrase_reset ADD COLUMN charged boolean NOT NULL DEFAULT true;
CREATE INDEX passphrase_reset_of_interaction ON countersign.passphrase_reset (interaction, opened) WHERE charged;
CREATE INDEX passphrase_reset_of_line ON countersign.passphrase_reset (line, opened) WHERE charged;
CREATE INDEX passphrase_reset_of_client ON countersign.passphrase_reset (client, opened) WHERE charged AND NOT familiar;
