-- migrate:up
SET LOCAL lock_timeout = '5s';

-- Messages that somebody sends, where the others tell what an event says.
ALTER TABLE messages
    ADD COLUMN sent_by text,  -- the caller; null: an event asked for it
    -- Null: its contact, or what is sealed, says it. The code before would take `language` for that of contacts.
    ADD COLUMN in_language text CHECK (in_language IN ('ru', 'en')),
    ADD CONSTRAINT messages_by_hand
        CHECK (num_nulls(sent_by, in_language) = 2
            OR num_nulls(sent_by, in_language) = 0 AND kind IS NOT NULL AND event IS NOT NULL AND NOT by_contact);
-- migrate:down
