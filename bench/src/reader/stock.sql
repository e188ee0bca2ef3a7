SELECT s.sku,
       s.received,
       s.available,
       coalesce(sum(l.quantity) FILTER (WHERE h.state = 'held'), 0)::bigint,
       coalesce(sum(l.quantity) FILTER (WHERE h.state = 'committed'), 0)::bigint
  FROM stock s
  LEFT JOIN hold_lines l ON l.sku = s.sku
  LEFT JOIN holds h ON h.order_id = l.order_id
 GROUP BY s.sku, s.received, s.available
 ORDER BY s.sku
