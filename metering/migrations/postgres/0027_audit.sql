-- One trail for whatever operators do: by the console, the admin API or the command line. `session` is who:
-- of a command its user. `was` and `became` are what was changed, as JSON.
ALTER TABLE console_audit ADD COLUMN via TEXT NOT NULL DEFAULT 'console';
ALTER TABLE console_audit ADD COLUMN was TEXT NOT NULL DEFAULT '';
ALTER TABLE console_audit ADD COLUMN became TEXT NOT NULL DEFAULT '';
CREATE INDEX console_audit_by_subject ON console_audit (subject, seq);

-- Wrong admin keys of the last minute are counted at each attempt to log in.
CREATE INDEX console_audit_wrong_keys ON console_audit (at_ns) WHERE action = 'log in' AND outcome = 'refused';

-- Models that the operator wants to get no more requests.
CREATE TABLE model_drain (model TEXT COLLATE "C" PRIMARY KEY, since_ns BIGINT NOT NULL);
