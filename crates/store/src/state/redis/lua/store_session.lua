-- Stores a session.
-- KEYS 1 session  2 index of its user's sessions, on one server only
-- ARGV 1 now  2.. the session, as `store_session` reads it
store_session(KEYS[1], KEYS[2], tonumber(ARGV[1]), 2)
return 1
