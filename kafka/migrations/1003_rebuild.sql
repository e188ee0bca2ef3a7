-- A lost database is rebuilt from the topics (docs/runbook/rebuild.md). While that is under way the database is in mode
-- `rebuild`: nobody serves from it, and only then may the service's role empty it and begin again.

ALTER TABLE db_identity ADD COLUMN mode text NOT NULL DEFAULT 'live' CONSTRAINT db_identity_mode_check CHECK (mode IN ('live', 'rebuild'));
COMMENT ON COLUMN db_identity.mode IS 'rebuild: its content is given up; only the owner role sets it (setup).';

-- Every incarnation whose records are on the topics, this database's own last. Readers of the topics know by it which sources
-- were ours.
CREATE TABLE incarnations (
    incarnation uuid NOT NULL,
    since       timestamptz NOT NULL DEFAULT clock_timestamp(),
    because     text NOT NULL,
    who         text,
    why         text,
    CONSTRAINT incarnations_key PRIMARY KEY (incarnation)
);

-- Empties everything but what set-up made, and makes the database a new incarnation. Only in mode `rebuild`.
CREATE FUNCTION rebuild_begin(by_whom text, for_what text) RETURNS uuid LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    tables text;
    made uuid := gen_random_uuid();
BEGIN
    IF (SELECT mode FROM db_identity FOR UPDATE) <> 'rebuild' THEN
        RAISE EXCEPTION 'the database is live: its owner gives it up first (setup --rebuild)' USING ERRCODE = '55000';
    END IF;
    SELECT string_agg(quote_ident(relname), ', ' ORDER BY relname) INTO tables
    FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
      AND relname NOT LIKE '\_%' AND relname NOT IN ('db_identity', 'topic_partitions', 'schemas');
    EXECUTE 'TRUNCATE ' || tables || ' RESTART IDENTITY';
    ALTER SEQUENCE outbox_block RESTART;
    PERFORM outbox_add_partition(0), outbox_add_partition(1);
    DROP INDEX IF EXISTS events_causation_id_idx;
    UPDATE db_identity SET incarnation = made, cluster_id = NULL;
    INSERT INTO incarnations (incarnation, because, who, why) VALUES (made, 'rebuild', by_whom, for_what);
    RETURN made;
END $$;

-- Once the events are there: what a cause is looked up by.
CREATE FUNCTION rebuild_index() RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF (SELECT mode FROM db_identity) <> 'rebuild' THEN
        RAISE EXCEPTION 'the database is live' USING ERRCODE = '55000';
    END IF;
    CREATE INDEX IF NOT EXISTS events_causation_id_idx ON events (causation_id);
    ANALYZE events;
END $$;

-- The rebuild is complete: from here on the database is served from, and nothing empties it any more.
CREATE FUNCTION rebuild_finish(of uuid) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE db_identity SET mode = 'live' WHERE incarnation = of AND mode = 'rebuild';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the database is not in the rebuild of %', of USING ERRCODE = '55000';
    END IF;
    DROP INDEX IF EXISTS events_causation_id_idx;
END $$;

-- What a database holds, table by table, whatever the order of its rows: two databases with the same events, states and
-- projections have the same hashes. Left out are positions (they are of one incarnation) and the times of inserts, which are
-- the columns whose default is a clock.
CREATE FUNCTION content_hash() RETURNS TABLE (name text, row_count bigint, hash text) LANGUAGE plpgsql STABLE
SET search_path = public, pg_temp AS $$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT c.relname::text AS relname, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) AS columns
        FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND NOT c.relispartition AND c.relname NOT LIKE '\_%'
          AND c.relname NOT IN ('progress', 'chain', 'effects', 'deadlines', 'schemas', 'topic_partitions', 'db_identity',
                                'incarnations', 'blocked_key', 'parked', 'inbox', 'decisions')
          AND coalesce(pg_get_expr(d.adbin, d.adrelid), '') NOT IN ('now()', 'clock_timestamp()')
        GROUP BY c.relname ORDER BY c.relname
    LOOP
        RETURN QUERY EXECUTE format(
            'SELECT %L::text, count(*),
                    to_hex(coalesce(sum((''x'' || substr(row_hash, 1, 15))::bit(60)::bigint) %% (1::bigint << 60), 0)::bigint) ||
                    to_hex(coalesce(sum((''x'' || substr(row_hash, 16, 15))::bit(60)::bigint) %% (1::bigint << 60), 0)::bigint)
             FROM (SELECT md5(ROW(%s)::text) AS row_hash FROM %I %s) AS hashed',
            one.relname, one.columns, one.relname, CASE WHEN one.relname = 'streams' THEN 'WHERE version > 0' ELSE '' END);
    END LOOP;
END $$;
