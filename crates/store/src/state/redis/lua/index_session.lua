-- Adds a session to the index of its user's sessions. Returns `excess_sessions`.
-- KEYS 1 index  ARGV 1 now  2 session limit  3 expiry  4 member  5 creation time
index_session(KEYS[1], ARGV[4], ARGV[5], tonumber(ARGV[3]), tonumber(ARGV[1]))
return excess_sessions(KEYS[1], tonumber(ARGV[2]), tonumber(ARGV[1]))
