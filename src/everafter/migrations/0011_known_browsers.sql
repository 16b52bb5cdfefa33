-- Browsers that an account has signed in with: wrong passwords from elsewhere do not keep them out.
CREATE TABLE IF NOT EXISTS known_browsers (
  token_hash  bytea NOT NULL,        -- of the token in the browser's cookie, which changes at every sign-in
  user_id     uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  created_at  timestamptz NOT NULL DEFAULT now(),   -- the latest sign-in
  expires_at  timestamptz NOT NULL,
  PRIMARY KEY (token_hash, user_id)
);
CREATE INDEX IF NOT EXISTS known_browsers_of ON known_browsers (user_id, created_at DESC);

COMMENT ON COLUMN sign_in_failures.bucket IS
  'address:network, pair:account:network, account:account, pace:account or browser:account:token; accounts and tokens as hashes';
