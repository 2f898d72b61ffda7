-- migrate:up
SET LOCAL lock_timeout = '5s';

-- Published events are removed now. The code before this marks them: its column stays until that code is gone, and the
-- relay removes what it still marks.
DELETE FROM outbox WHERE published_at IS NOT NULL;
DROP INDEX outbox_unpublished;  -- the primary key serves the relay
DROP INDEX outbox_published;
CREATE INDEX outbox_marked ON outbox (id) WHERE published_at IS NOT NULL;  -- empty once the code before this is gone

-- The table is a queue: short, and all of it passes through. What was removed lies before what waits, and the relay
-- walks over it until vacuum took it away.
ALTER TABLE outbox SET (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_threshold = -1,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 100000,
    vacuum_truncate = off  -- it would lock writers out; the room is used again
);
-- migrate:down
