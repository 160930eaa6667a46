-- The former spelling of a key is not restored; earlier versions find the canonical one as well.
SELECT 1;
