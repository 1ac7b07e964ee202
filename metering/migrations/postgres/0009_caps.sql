-- What a key spent in a cycle, and what an account used of its free tokens, without reading all rows.
CREATE INDEX charge_by_key ON charge (key_id, created_ns, charged_nano_usd);
CREATE INDEX charge_free ON charge (account, model, created_ns) WHERE price_version = '0/0/0~free-tokens:1000000';
