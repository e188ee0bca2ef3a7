-- Failed messages: what waits, what was given up, what was decided about it. Nothing here is touched while nothing fails.

-- A key with a failed message: its later messages are parked behind it. Taken FOR UPDATE before any parked row of the key.
CREATE TABLE blocked_key (
    consumer_group text NOT NULL,
    topic          text NOT NULL,
    key            bytea NOT NULL,
    partition      int NOT NULL,
    since          timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT blocked_key_key PRIMARY KEY (consumer_group, topic, key)
);
-- What a member reads when it takes its partitions over.
CREATE INDEX blocked_key_partition_idx ON blocked_key (consumer_group, topic, partition);
COMMENT ON TABLE blocked_key IS 'Keys whose messages wait behind a failed one.';

-- Every message that left the main stream and is not handled yet. One row a message, found by where it came from: a saga's
-- command that is sent twice has one id and two places.
CREATE TABLE parked (
    pos              bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT parked_key PRIMARY KEY,
    consumer_group   text NOT NULL,
    topic            text NOT NULL,
    partition        int NOT NULL,
    record_offset    bigint NOT NULL,
    key              bytea NOT NULL,
    message_id       uuid NOT NULL,
    record           text,
    step             text,
    correlation_id   text NOT NULL,
    value            bytea,
    headers          bytea NOT NULL,
    recorded_at_ms   bigint NOT NULL,
    policy           text NOT NULL CONSTRAINT parked_policy_check CHECK (policy IN ('hold', 'release')),
    state            text NOT NULL CONSTRAINT parked_state_check CHECK (state IN ('follower', 'head', 'dead')),
    alone            boolean NOT NULL,
    attempt          int NOT NULL DEFAULT 0,
    redrive_no       int NOT NULL DEFAULT 0,
    timer_no         int NOT NULL DEFAULT 0,
    timed            boolean NOT NULL DEFAULT false,
    delay_ms         bigint NOT NULL DEFAULT 0,
    due_at           timestamptz,
    first_failure_at timestamptz,
    last_failure_at  timestamptz,
    error_class      text,
    error_code       text,
    error            text,
    fingerprint      text,
    CONSTRAINT parked_place_key UNIQUE (consumer_group, topic, partition, record_offset)
);
COMMENT ON COLUMN parked.message_id IS 'Its own id; UUIDv5 of topic, partition and offset where the message is foreign or cannot be read.';
COMMENT ON COLUMN parked.state IS 'follower: waits for the messages of its key before it. head: due at due_at. dead: given up, waits for a person.';
COMMENT ON COLUMN parked.alone IS 'Neither blocks its key nor waits for it: released dead letters, foreign records, compensations.';
COMMENT ON COLUMN parked.attempt IS 'Failed tries since it was parked or last redriven.';
COMMENT ON COLUMN parked.timed IS 'A record on a retry topic wakes this head; the others are found by parked_due_idx.';
CREATE INDEX parked_order_idx ON parked (consumer_group, topic, key, pos);
CREATE INDEX parked_due_idx ON parked (consumer_group, due_at) WHERE state = 'head';
CREATE INDEX parked_dead_idx ON parked (consumer_group, pos) WHERE state = 'dead';
-- Undoing a step takes its messages out wherever they wait.
CREATE INDEX parked_step_idx ON parked (consumer_group, correlation_id) WHERE step IS NOT NULL;
CREATE INDEX parked_message_id_idx ON parked (consumer_group, message_id);

-- What became of messages that left the main stream; the others are known by their partition's progress.
CREATE TABLE inbox (
    consumer_group text NOT NULL,
    message_id     uuid NOT NULL,
    outcome        text NOT NULL CONSTRAINT inbox_outcome_check CHECK (outcome IN ('handled', 'undone', 'skipped', 'abandoned')),
    at             timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT inbox_key PRIMARY KEY (consumer_group, message_id)
);

-- What operators decided, beside its record on <group>.dlq.decisions.
CREATE TABLE decisions (
    pos            bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT decisions_key PRIMARY KEY,
    consumer_group text NOT NULL,
    message_id     uuid NOT NULL,
    topic          text NOT NULL,
    partition      int NOT NULL,
    record_offset  bigint NOT NULL,
    redrive_no     int NOT NULL,
    decision       text NOT NULL CONSTRAINT decisions_decision_check CHECK (decision IN ('redriven', 'edited', 'skipped', 'abandoned')),
    value          bytea,
    who            text NOT NULL,
    why            text NOT NULL,
    at             timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT decisions_once_key UNIQUE (consumer_group, topic, partition, record_offset, redrive_no)
);
CREATE INDEX decisions_message_id_idx ON decisions (consumer_group, message_id);

-- An effect that is given up: its step failed, and its saga was told.
ALTER TABLE effects DROP CONSTRAINT effects_state_check;
ALTER TABLE effects ADD CONSTRAINT effects_state_check CHECK (state IN ('pending', 'calling', 'done', 'unknown', 'dropped', 'dead'));
