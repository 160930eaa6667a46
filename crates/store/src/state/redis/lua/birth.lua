-- Returns the store's birth and the server's id. KEYS 1 birth
return { birth(KEYS[1]), server_id() }
