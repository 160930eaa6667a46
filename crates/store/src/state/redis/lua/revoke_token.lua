-- Revokes an access token. KEYS 1 revocation  ARGV 1 now  2 expiry
store_until(KEYS[1], tonumber(ARGV[2]), tonumber(ARGV[1]))
return 1
