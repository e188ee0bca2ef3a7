-- The keys of customers' personal data, and who had them destroyed. A database of its own: it cannot be rebuilt from events, is backed up
-- by itself and kept for less time, and no rebuild of the service's database touches it.

CREATE TABLE customer_keys (
    key_id      uuid NOT NULL DEFAULT gen_random_uuid(),
    customer_id text NOT NULL,
    wrapped_by  text NOT NULL,
    nonce       bytea,
    wrapped     bytea,
    created_at  timestamptz NOT NULL DEFAULT now(),
    erased_at   timestamptz,
    CONSTRAINT customer_keys_key_id_key PRIMARY KEY (key_id),
    CONSTRAINT customer_keys_erased_check CHECK ((erased_at IS NULL) = (wrapped IS NOT NULL) AND (wrapped IS NULL) = (nonce IS NULL))
);
COMMENT ON COLUMN customer_keys.wrapped IS 'the data key, sealed with the key wrapped_by names; null once destroyed';
-- One key at a time seals what a customer says; after an erasure a new one begins.
CREATE UNIQUE INDEX customer_keys_live_key ON customer_keys (customer_id) WHERE erased_at IS NULL;

CREATE TABLE erasures (
    erasure_id  bigint GENERATED ALWAYS AS IDENTITY,
    customer_id text NOT NULL,
    who         text NOT NULL,
    why         text NOT NULL,
    keys        bigint NOT NULL,
    at          timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT erasures_erasure_id_key PRIMARY KEY (erasure_id)
);
