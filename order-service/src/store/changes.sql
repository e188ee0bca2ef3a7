-- Orders placed and changed, and their sagas, at once: three round trips less on the way of an order through its saga.
-- An order is never placed and changed in one unit, so the two parts on `orders` never meet in a row. The rows are protected by the locks on their
-- orders' streams, so any order of updates is safe.
WITH placed AS (
    INSERT INTO orders (id, customer_id, status, lines, total_minor, currency, placed_at, version)
    SELECT id, customer_id, 'PENDING', lines::json, total_minor, currency, 'epoch'::timestamptz + placed_at * interval '1 microsecond', 1
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bigint[])
         AS p (id, customer_id, lines, total_minor, currency, placed_at)
), changed AS (
    UPDATE orders o
    SET status = coalesce(c.status, o.status), reason = coalesce(c.reason, o.reason), version = coalesce(c.version, o.version),
        ended_at = coalesce('epoch'::timestamptz + c.ended_at * interval '1 microsecond', o.ended_at)
    FROM unnest($7::uuid[], $8::text[], $9::text[], $10::bigint[], $11::bigint[]) AS c (id, status, reason, version, ended_at)
    WHERE o.id = c.id
    RETURNING 1
), steered AS (
    INSERT INTO sagas AS s (order_id, status, step, cause, stuck_reason, stuck_at)
    SELECT order_id, status, step, cause, stuck_reason, 'epoch'::timestamptz + stuck_at * interval '1 microsecond'
    FROM unnest($12::uuid[], $13::text[], $14::text[], $15::text[], $16::text[], $17::bigint[])
         AS n (order_id, status, step, cause, stuck_reason, stuck_at)
    ON CONFLICT (order_id)
    DO UPDATE SET status = excluded.status, step = excluded.step, cause = excluded.cause, updated_at = excluded.updated_at,
                  stuck_reason = CASE WHEN excluded.status = 'stuck' THEN coalesce(excluded.stuck_reason, s.stuck_reason) END,
                  stuck_at = CASE WHEN excluded.status = 'stuck' THEN coalesce(s.stuck_at, excluded.stuck_at) END
)
SELECT count(*) FROM changed
