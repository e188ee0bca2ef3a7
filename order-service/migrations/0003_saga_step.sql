-- One row version less at every step: the row follows the saga's status and cause, its stream its steps.
COMMENT ON COLUMN sagas.step IS 'the step awaited when status or cause last changed; which one is awaited now is in the state of stream saga-<order_id>';
