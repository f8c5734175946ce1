-- Since when an account is closed, in microseconds since 1970-01-01 UTC; NULL: it is not. Nobody of a closed account is verified
-- by anything. What is on record of it stays, so that an operator may reopen it; its passphrases do not.
ALTER TABLE account ADD COLUMN closed INTEGER;
