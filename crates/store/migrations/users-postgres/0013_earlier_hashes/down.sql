DROP INDEX users_with_earlier_hash;
