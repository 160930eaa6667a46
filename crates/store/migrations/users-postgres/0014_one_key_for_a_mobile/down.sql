-- Which writing a key had is forgotten; the canonical one is found by earlier versions as well.
SELECT 1;
