-- An entry may count several failures; at is then the time of the last one. Where they exceeded the rate limits of the
-- audit log, origins is the number of addresses, IPv6 /64s and apps that they came from.
ALTER TABLE audit ADD COLUMN first_at BIGINT;
ALTER TABLE audit ADD COLUMN origins BIGINT;
