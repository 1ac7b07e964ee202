-- Raised with every change of a key or of an account's state: gateways read all keys again only then.
CREATE TABLE key_version (version INTEGER NOT NULL) STRICT;
INSERT INTO key_version VALUES (1);
