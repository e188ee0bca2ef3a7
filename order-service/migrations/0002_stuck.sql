-- Why a saga is stuck, and since when: what an operator is shown first.
ALTER TABLE sagas ADD COLUMN stuck_reason text, ADD COLUMN stuck_at timestamptz;
COMMENT ON COLUMN sagas.cause IS 'why it turned back, if it did';
COMMENT ON COLUMN sagas.stuck_reason IS 'deadline, or the code of the participant that gave up; null unless stuck';
