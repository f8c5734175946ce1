-- Whether a notice goes to an address that its contact had before, and no more when it was written. What is left, of a changed
-- e-mail address, says which address he had until when.
ALTER TABLE countersign.notice ADD COLUMN is_former boolean NOT NULL DEFAULT false;
