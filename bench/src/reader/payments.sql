SELECT currency,
       coalesce(sum(captured_minor), 0)::bigint,
       coalesce(sum(refunded_minor), 0)::bigint,
       count(*) FILTER (WHERE state = 'authorized')
  FROM payments
 WHERE currency IS NOT NULL
 GROUP BY currency
 ORDER BY currency
