-- The index of a user's sessions says whether there are too many; the count cost each login a page of its own.
DROP TRIGGER sessions_opened;
DROP TRIGGER sessions_ended;
DROP TABLE session_counts;
