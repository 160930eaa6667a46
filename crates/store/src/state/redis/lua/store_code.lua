-- Stores a code. KEYS 1 code  ARGV 1 now  2 keyed hash of the code  3 its epoch  4 its expiry
store_code(KEYS[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[1]))
return 1
