-- A mobile number of mainland China is found by its 11 digits. Earlier versions stored a phone number or a name such as
-- 8613800138000 or 138-0013-8000 unchanged. If another user has the 11 digits, the row stays and is not found: see
-- docs/FIELD.md.
INSERT OR IGNORE INTO identifiers (key, number)
SELECT substr(plain, -11), number
FROM (SELECT key, number, replace(replace(key, ' ', ''), '-', '') AS plain FROM identifiers)
WHERE length(key) > 11
    AND key NOT GLOB '*[^-+0-9 ]*'
    AND substr(plain, -11) GLOB '1[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]'
    AND substr(plain, 1, length(plain) - 11) IN ('', '86', '0086', '+86')
ORDER BY number;

DELETE FROM identifiers
WHERE length(key) > 11
    AND key NOT GLOB '*[^-+0-9 ]*'
    AND EXISTS (
        SELECT 1 FROM identifiers AS mobile
        WHERE mobile.number = identifiers.number
            AND mobile.key GLOB '1[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]'
            AND replace(replace(identifiers.key, ' ', ''), '-', '')
                IN (mobile.key, '86' || mobile.key, '0086' || mobile.key, '+86' || mobile.key)
    );
