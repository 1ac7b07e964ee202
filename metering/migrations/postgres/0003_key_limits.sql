-- What a key may use; NULL is the gateway's default.
ALTER TABLE api_key ADD COLUMN requests_per_minute BIGINT CHECK (requests_per_minute > 0);
ALTER TABLE api_key ADD COLUMN tokens_per_minute BIGINT CHECK (tokens_per_minute > 0);
ALTER TABLE api_key ADD COLUMN concurrent_requests BIGINT CHECK (concurrent_requests > 0);
