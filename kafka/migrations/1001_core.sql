-- The tables every service on this runtime has. Applied by the owner role; the service's own role gets INSERT/SELECT
-- where rows are facts and UPDATE only where they are positions or leases (see `setup.rs`).

CREATE TABLE db_identity (
    only_row    boolean PRIMARY KEY DEFAULT true CONSTRAINT db_identity_one_row_check CHECK (only_row),
    incarnation uuid NOT NULL,
    cluster_id  text
);
COMMENT ON TABLE db_identity IS 'Who this database is: a new incarnation after every restore, rebuild or republish.';

-- An aggregate's folded state, changed in the transaction that appends its events and locked FOR UPDATE by every writer.
CREATE TABLE streams (
    stream  text PRIMARY KEY,
    version bigint NOT NULL,
    state   json NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE events (
    stream         text NOT NULL,
    version        bigint NOT NULL,
    event_id       uuid NOT NULL,
    type           text NOT NULL,
    topic          text NOT NULL,
    causation_id   uuid NOT NULL,
    correlation_id text NOT NULL,
    payload        bytea NOT NULL,
    recorded_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT events_stream_version_key PRIMARY KEY (stream, version)
);
-- No index on causation_id: only a rebuild looks messages up by their cause, and makes the index when it starts. Random
-- ids in a large index would cost every append a cold page.

CREATE SEQUENCE outbox_block AS bigint CACHE 1;
CREATE TABLE outbox (
    id         bigint NOT NULL,
    tx_rows    int NOT NULL CONSTRAINT outbox_tx_rows_check CHECK (tx_rows BETWEEN 1 AND 5000),
    message_id uuid NOT NULL,
    topic      text NOT NULL,
    partition  int NOT NULL,
    key        bytea NOT NULL,
    headers    bytea NOT NULL,
    payload    bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT outbox_id_key PRIMARY KEY (id)
) PARTITION BY RANGE (id);

-- One range partition holds 2^17 database transactions (ids are block * 8192 + ordinal).
CREATE FUNCTION outbox_add_partition(ordinal bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE IF NOT EXISTS outbox_%s PARTITION OF outbox FOR VALUES FROM (%s) TO (%s)',
                   ordinal, ordinal << 30, (ordinal + 1) << 30);
END $$;
SELECT outbox_add_partition(0), outbox_add_partition(1);

-- Keeps two partitions ahead of the sequence and drops those wholly below the relay's cursor whose newest row is older than
-- `keep`. The partition that holds the cursor is never dropped: the relay compares that row with its position at start.
CREATE FUNCTION outbox_maintain(cursor_id bigint, keep interval) RETURNS int LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    head bigint := (SELECT last_value FROM outbox_block) >> 17;
    part record;
    newest timestamptz;
    dropped int := 0;
BEGIN
    PERFORM outbox_add_partition(head), outbox_add_partition(head + 1);
    FOR part IN SELECT c.relname AS name, substring(c.relname FROM 8)::bigint AS ordinal
                FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                WHERE i.inhparent = 'outbox'::regclass ORDER BY 2 LOOP
        EXIT WHEN (part.ordinal + 1) << 30 > cursor_id;
        EXECUTE format('SELECT created_at FROM %I ORDER BY id DESC LIMIT 1', part.name) INTO newest;
        EXIT WHEN newest >= now() - keep;
        EXECUTE format('DROP TABLE %I', part.name);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;

-- The only way into the outbox. Called once, last in its transaction. The transaction id is taken before the block number,
-- so the owner of any block at or below a visible one holds an xid below a fresh one drawn later: the relay's barrier rests on it.
CREATE FUNCTION outbox_append(message_ids uuid[], topics text[], partitions int[], keys bytea[], headers bytea[], payloads bytea[])
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    block bigint;
    total int := cardinality(topics);
BEGIN
    IF total = 0 THEN
        RETURN NULL;
    END IF;
    PERFORM pg_current_xact_id();
    block := nextval('outbox_block');
    INSERT INTO outbox (id, tx_rows, message_id, topic, partition, key, headers, payload)
    SELECT block * 8192 + row.ord, total, row.message_id, row.topic, row.partition, row.key, row.headers, row.payload
    FROM unnest(message_ids, topics, partitions, keys, headers, payloads)
         WITH ORDINALITY AS row (message_id, topic, partition, key, headers, payload, ord)
    ORDER BY row.ord;
    RETURN block;
END $$;

-- The truth of consumption: the next offset of one partition and the epoch of who may write it.
CREATE TABLE progress (
    consumer_group text NOT NULL,
    topic          text NOT NULL,
    partition      int NOT NULL,
    next_offset    bigint NOT NULL,
    last_hash      bigint,
    epoch          bigint NOT NULL,
    owner          text NOT NULL,
    caught_up_at   timestamptz,
    CONSTRAINT progress_key PRIMARY KEY (consumer_group, topic, partition)
) WITH (fillfactor = 50);

CREATE TABLE chain (
    consumer_group text NOT NULL,
    topic          text NOT NULL,
    partition      int NOT NULL,
    src            text NOT NULL,
    last_seq       bigint NOT NULL,
    CONSTRAINT chain_key PRIMARY KEY (consumer_group, topic, partition, src)
) WITH (fillfactor = 50);

-- Calls to the outside, written with the decision that asked for them and made by the effect worker.
CREATE TABLE effects (
    stream         text NOT NULL,
    step           text NOT NULL,
    pos            bigint GENERATED ALWAYS AS IDENTITY,
    cause          uuid NOT NULL,
    correlation_id text NOT NULL,
    key            uuid NOT NULL,
    request        json NOT NULL,
    state          text NOT NULL CONSTRAINT effects_state_check CHECK (state IN ('pending', 'calling', 'done', 'unknown', 'dropped')),
    attempt        int NOT NULL DEFAULT 0,
    due_at         timestamptz NOT NULL DEFAULT now(),
    lease_until    timestamptz,
    undo_cause     uuid,
    CONSTRAINT effects_key PRIMARY KEY (stream, step)
) WITH (fillfactor = 50);
CREATE INDEX effects_open_idx ON effects (pos) WHERE state IN ('pending', 'calling', 'unknown');

-- At most one armed deadline a saga.
CREATE TABLE deadlines (
    saga       text PRIMARY KEY,
    step       text NOT NULL,
    due_at     timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX deadlines_due_at_idx ON deadlines (due_at);

CREATE TABLE schemas (
    id          int NOT NULL,
    subject     text NOT NULL,
    fingerprint text NOT NULL,
    json        text NOT NULL,
    CONSTRAINT schemas_key PRIMARY KEY (id, subject)
);

CREATE TABLE topic_partitions (
    topic      text PRIMARY KEY,
    partitions int NOT NULL
);
