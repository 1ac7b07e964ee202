-- The price book: what models cost from a moment on, in the order in which it was set. Nano-USD for
-- a token of each kind and for a request; `off_peak` is a JSON array of windows. `id` is the setter's,
-- so that setting a price can be repeated.
CREATE TABLE price (
    seq BIGINT PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL UNIQUE,
    model TEXT NOT NULL,
    effective_ns BIGINT NOT NULL,
    prompt_nano_usd BIGINT NOT NULL CHECK (prompt_nano_usd >= 0),
    cached_prompt_nano_usd BIGINT NOT NULL CHECK (cached_prompt_nano_usd >= 0),
    completion_nano_usd BIGINT NOT NULL CHECK (completion_nano_usd >= 0),
    request_nano_usd BIGINT NOT NULL CHECK (request_nano_usd >= 0),
    batch_discount_ppm BIGINT NOT NULL CHECK (batch_discount_ppm BETWEEN 0 AND 1000000),
    off_peak TEXT NOT NULL,
    set_ns BIGINT NOT NULL CHECK (set_ns < effective_ns)
);

CREATE TRIGGER price_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON price
FOR EACH STATEMENT EXECUTE FUNCTION
    refuse_change('a price is never changed or deleted: set another one');
