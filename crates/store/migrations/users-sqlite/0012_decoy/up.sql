-- The decoy row, which is read for an unknown identifier: as large as a user's row. No identifier refers to it.
INSERT INTO users (
    number, id, name, registered_through, registered_at, alias_id, role, disabled, real_name, nickname, avatar_url, enterprise,
    group_name, organization, department, description, org_id, memo, verifier, epoch
) VALUES (
    0, x'00000000000000000000000000000000', 'decoy', '', 0, '00000000000000000000000000000000', 2, TRUE, '', '', '', '',
    '', '', '', '', '', '', '{decoy}------------------------------------------------------------------------------------------', 0
);
