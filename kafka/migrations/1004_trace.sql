-- Where in which trace an effect was asked for and a deadline armed: what they cause belongs to the same trace. NULL while
-- tracing is off. Messages carry it in their headers.
ALTER TABLE effects ADD COLUMN traceparent text;
ALTER TABLE deadlines ADD COLUMN traceparent text;
