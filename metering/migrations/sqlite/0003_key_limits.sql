-- What a key may use; NULL is the gateway's default.
ALTER TABLE api_key ADD COLUMN requests_per_minute INTEGER CHECK (requests_per_minute > 0);
ALTER TABLE api_key ADD COLUMN tokens_per_minute INTEGER CHECK (tokens_per_minute > 0);
ALTER TABLE api_key ADD COLUMN concurrent_requests INTEGER CHECK (concurrent_requests > 0);
