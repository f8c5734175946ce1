-- Whether a notice goes to an address that its contact had before, and no more when it was written. What is left, of a changed
-- e-mail address, says which address he had until when.
ALTER TABLE notice ADD COLUMN is_former INTEGER NOT NULL DEFAULT 0 CHECK (is_former IN (0, 1));
