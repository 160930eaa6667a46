-- KEYS 1 birth  ARGV 1 now
return birth(KEYS[1], tonumber(ARGV[1]))
