-- Instants as Unix microseconds. The join goes by the events' primary key: a handful of rows per order.
SELECT o.id,
       o.status,
       o.reason,
       (extract(epoch FROM o.placed_at) * 1000000)::bigint,
       (SELECT (extract(epoch FROM e.recorded_at) * 1000000)::bigint
          FROM events e
         WHERE e.stream = 'order-' || o.id::text
           AND e.type = 'orders.OrderConfirmed'
         LIMIT 1),
       (extract(epoch FROM o.ended_at) * 1000000)::bigint
  FROM orders o
 WHERE o.id = ANY($1)
