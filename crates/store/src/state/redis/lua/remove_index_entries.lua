-- Removes entries from the index of a user's sessions.
-- KEYS 1 index  ARGV 1 now  2.. for each entry: member, creation time, '1' if the caller has ended the session
-- An entry stays if its session was opened again meanwhile (app-bound sessions reuse their keys). Where the caller
-- found no session, an entry also stays while it is young: on a cluster, a login may be about to store the session, and
-- without an entry `end_sessions` would miss it.
for n = 2, #ARGV, 3 do
    local created = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[n]))
    local is_young = created and created > tonumber(ARGV[1]) - MARGIN * 1000
    if created and created == tonumber(ARGV[n + 1]) and (ARGV[n + 2] == '1' or not is_young) then
        redis.call('ZREM', KEYS[1], ARGV[n])
    end
end
return 1
