-- The day on which the customer's approval to marketing use of CPNI was filed (47 CFR 64.2009); NULL: there is none.
ALTER TABLE account ADD COLUMN marketing_approved TEXT;
