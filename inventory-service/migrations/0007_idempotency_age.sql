-- Requests are kept for a day; a block-range index finds the old ones at next to no cost for every request.
CREATE INDEX idempotency_created_at_idx ON idempotency USING brin (created_at) WITH (pages_per_range = 32, autosummarize = on);
