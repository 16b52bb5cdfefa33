-- Failed sign-ins, counted by account and by address in windows of a quarter of an hour.
CREATE TABLE sign_in_failures (
  bucket    text PRIMARY KEY,        -- 'account:' and a hash of what was typed, or 'address:' and the network
  failures  integer NOT NULL,
  until     timestamptz NOT NULL     -- the end of the window; later failures begin a new one
);
