-- A mobile number of mainland China is found by its 11 digits. Earlier versions stored a phone number or a name such as
-- 8613800138000 or 138-0013-8000 unchanged. If another user has the 11 digits, the row stays and is not found: see
-- docs/FIELD.md.
INSERT INTO identifiers (key, number)
SELECT right(plain, 11), number
FROM (
    SELECT number, replace(replace(key, ' ', ''), '-', '') AS plain
    FROM identifiers
    WHERE length(key) > 11 AND key ~ '^[-+0-9 ]*$'
) AS candidates
WHERE plain ~ '^([+]86|0086|86)?1[0-9]{10}$'
ORDER BY number
ON CONFLICT DO NOTHING;

DELETE FROM identifiers
WHERE length(key) > 11
    AND key ~ '^[-+0-9 ]*$'
    AND EXISTS (
        SELECT 1 FROM identifiers AS mobile
        WHERE mobile.number = identifiers.number
            AND mobile.key ~ '^1[0-9]{10}$'
            AND replace(replace(identifiers.key, ' ', ''), '-', '')
                IN (mobile.key, '86' || mobile.key, '0086' || mobile.key, '+86' || mobile.key)
    );
