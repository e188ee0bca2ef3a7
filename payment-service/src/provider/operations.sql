-- The payment simulator's only table. It is not migrated: the simulator makes it in its own database when it starts.
BEGIN;
SELECT pg_advisory_xact_lock(hashtext('operations'));
CREATE TABLE IF NOT EXISTS operations (
    auth_key        uuid PRIMARY KEY,
    state           text NOT NULL CONSTRAINT operations_state_check
                    CHECK (state IN ('none', 'authorized', 'captured', 'voided', 'refunded', 'declined', 'blocked')),
    mood            text NOT NULL,
    amount_minor    bigint NOT NULL,
    captured_minor  bigint NOT NULL,
    refunded_minor  bigint NOT NULL,
    currency        text NOT NULL,
    authorize_calls int NOT NULL,
    capture_calls   int NOT NULL,
    void_calls      int NOT NULL,
    calls           int NOT NULL GENERATED ALWAYS AS (authorize_calls + capture_calls + void_calls) STORED,
    CONSTRAINT operations_conserved_check CHECK (0 <= refunded_minor AND refunded_minor <= captured_minor AND captured_minor <= amount_minor)
) WITH (fillfactor = 50);
COMMIT;
