-- Keys are kept for a day. They are written in the order of time, so a block-range index finds the old ones at next to no cost
-- for every placement.
CREATE INDEX idempotency_created_at_idx ON idempotency USING brin (created_at) WITH (pages_per_range = 32, autosummarize = on);
