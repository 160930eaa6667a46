DROP TABLE oauth_client_resources;
DROP TABLE oauth_clients;
DROP TABLE oauth_resources;
