-- KEYS 1 birth. Gives it, and the server.
return { birth(KEYS[1]), server_id() }
