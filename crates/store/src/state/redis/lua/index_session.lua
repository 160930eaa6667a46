-- Lists a session under its user. Gives how many of the user's sessions are too many, and those to look at.
-- KEYS 1 index  ARGV 1 now  2 how many there may be  3 its end  4 its member  5 when it was opened
list_session(KEYS[1], ARGV[4], ARGV[5], tonumber(ARGV[3]), tonumber(ARGV[1]))
return crowd(KEYS[1], tonumber(ARGV[2]), tonumber(ARGV[1]))
