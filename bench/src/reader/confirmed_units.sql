SELECT line ->> 'sku', sum((line ->> 'quantity')::bigint)::bigint
  FROM orders o, LATERAL jsonb_array_elements(o.lines::jsonb) AS line
 WHERE o.status = 'CONFIRMED'
 GROUP BY 1
 ORDER BY 1
