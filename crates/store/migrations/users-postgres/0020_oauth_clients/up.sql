-- OAuth clients and resource servers. Times are microseconds since the Unix epoch; lists are separated by spaces.
-- Earlier programs do not use these tables, so the references do not concern them.
-- oldest program: 0014

-- secret: SHA-256 of the newest secret. previous_secret: that of the one before it, which is valid until
-- previous_expires_at.
CREATE TABLE oauth_resources (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- The aud of tokens for the resource server: its URI, or a URN made of its name.
    audience TEXT COLLATE "C" NOT NULL UNIQUE,
    legacy_tokens TEXT NOT NULL,
    secret BYTEA NOT NULL,
    secret_created_at BIGINT NOT NULL,
    previous_secret BYTEA,
    previous_created_at BIGINT,
    previous_expires_at BIGINT,
    created_at BIGINT NOT NULL
);

CREATE TABLE oauth_clients (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    grants TEXT NOT NULL,
    resources TEXT NOT NULL,
    subject_types TEXT NOT NULL,
    scopes TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    redirect_uris TEXT NOT NULL,
    secret BYTEA NOT NULL,
    secret_created_at BIGINT NOT NULL,
    previous_secret BYTEA,
    previous_created_at BIGINT,
    previous_expires_at BIGINT,
    created_at BIGINT NOT NULL
);

-- The resource servers that clients name, as oauth_clients.resources lists them: no client can name one that is not
-- registered, and none that a client names can be removed.
CREATE TABLE oauth_client_resources (
    resource TEXT COLLATE "C" NOT NULL REFERENCES oauth_resources (name),
    client TEXT COLLATE "C" NOT NULL REFERENCES oauth_clients (id) ON DELETE CASCADE,
    PRIMARY KEY (resource, client)
);
CREATE INDEX oauth_client_resources_by_client ON oauth_client_resources (client);
