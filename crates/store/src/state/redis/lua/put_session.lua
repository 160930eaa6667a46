-- KEYS 1 session  2 the index of its user's sessions, where one server has both  ARGV 1 now  from 2: the session
put_session(KEYS[1], KEYS[2], tonumber(ARGV[1]), 2)
return 1
