-- An entry may count several failures: at is then when the last of them ended. Where they exceeded the budgets of the trail,
-- origins is from how many addresses, IPv6 /64s and apps they came.
ALTER TABLE audit ADD COLUMN first_at BIGINT;
ALTER TABLE audit ADD COLUMN origins BIGINT;
