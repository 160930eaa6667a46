DROP TABLE client_tokens;
DROP TABLE apps;
DROP TABLE identifiers;
DROP TABLE users;
