-- migrate:up
SET LOCAL lock_timeout = '5s';

-- Keys that sign access tokens: published as soon as made, signing from signs_from until the next one does.
CREATE TABLE signing_keys (
    kid            text PRIMARY KEY,  -- the key's thumbprint (RFC 7638)
    public_jwk     jsonb NOT NULL,
    sealed_private text,  -- under the vault key; null once it signs no more
    made_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    signs_from     timestamptz NOT NULL,
    CONSTRAINT signing_keys_publish_nothing_private
        CHECK (public_jwk ->> 'kid' = kid AND public_jwk ->> 'kty' = 'EC' AND NOT public_jwk ? 'd')
);

-- Who is signed in, from where; open until ended_at or expires_at. Rows go when the last of their tokens has expired.
CREATE TABLE sessions (
    id         uuid PRIMARY KEY DEFAULT uuidv7(),  -- in access tokens, so no secret
    user_id    bigint NOT NULL REFERENCES users (id),
    address    text NOT NULL,  -- from where the person signed in; empty where the transport has none
    user_agent text NOT NULL CHECK (length(user_agent) <= 200),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    used_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    ended_at   timestamptz
);
CREATE INDEX sessions_open_of_user ON sessions (user_id) WHERE ended_at IS NULL;
CREATE INDEX sessions_expires_at ON sessions (expires_at);

-- Every refresh token that a session was given, until it would have expired: a used one that comes again is noticed.
CREATE TABLE refresh_tokens (
    hash       bytea PRIMARY KEY CHECK (octet_length(hash) = 32),  -- SHA-256
    session_id uuid NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);
CREATE UNIQUE INDEX refresh_tokens_one_unused ON refresh_tokens (session_id) WHERE used_at IS NULL;
CREATE INDEX refresh_tokens_of_session ON refresh_tokens (session_id);
CREATE INDEX refresh_tokens_expires_at ON refresh_tokens (expires_at);
-- migrate:down
