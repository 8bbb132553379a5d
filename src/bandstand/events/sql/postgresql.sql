-- The two queries that every event passes, in one round trip each. PostgreSQL runs the statements of one message in one
-- transaction, each with a snapshot of its own: what the second one sees is as of after the lock.
--
-- synchronous_commit is off for them: what a power loss takes back only makes an event travel twice, and nobody waits
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
