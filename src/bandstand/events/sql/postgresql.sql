-- The queries that every event passes, in one round trip each. In the relay's two PostgreSQL runs the statements of one message in one
-- transaction, each with a snapshot of its own: what the second one sees is as of after the lock.
--
-- synchronous_commit is off for these two: what a power loss takes back only makes an event travel twice, and nobody waits
-- for a disk between the commit of an event and its handler.

-- name: claim
-- Hold the oldest rows whose keys nobody holds. Claims come one after the other, so that no two relays ever hold rows of
-- one key; with SKIP LOCKED alone a relay could take the second row of a key whose first one another has just locked.
SELECT pg_advisory_xact_lock(%(turn)s), set_config('synchronous_commit', 'off', true);
UPDATE bandstand_outbox AS claimed
SET held_until = statement_timestamp() + make_interval(secs => %(lease)s)
FROM (
    SELECT id
    FROM bandstand_outbox
    WHERE sent_at IS NULL
      AND key NOT IN (
        SELECT key FROM bandstand_outbox WHERE sent_at IS NULL AND held_until > statement_timestamp()
      )
    ORDER BY id
    LIMIT %(limit)s
) AS free
WHERE claimed.id = free.id
RETURNING claimed.id, claimed.message_id, claimed.type, claimed.key, claimed.body, claimed.attempts

-- name: mark_sent
-- Record the broker's confirmation.
SELECT set_config('synchronous_commit', 'off', true);
UPDATE bandstand_outbox
SET sent_at = statement_timestamp(), held_until = NULL, error = ''
WHERE id = ANY(%(ids)s)

-- name: enter_together
-- Write the inbox rows of a batch, but not of what is there already, nor of what must wait behind an older event of its
-- key; return those written. Sorted, so that two workers with the same events wait for each other and never lock up.
INSERT INTO bandstand_inbox (subscription, message_id, handled_at)
SELECT %(subscription)s, letter.message_id, CURRENT_TIMESTAMP
FROM unnest(%(ids)s::text[], %(keys)s::text[]) AS letter (message_id, key)
WHERE NOT EXISTS (
    SELECT 1 FROM bandstand_delivery WHERE subscription = %(subscription)s AND bandstand_delivery.key = letter.key
)
ORDER BY letter.message_id
ON CONFLICT (subscription, message_id) DO NOTHING
RETURNING message_id
