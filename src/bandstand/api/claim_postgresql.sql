-- Claim an idempotency key for this transaction, without waiting for another one that holds it.
--
-- Parameters: the number of the key's advisory lock, then the ten columns in order.
-- One row inserted: ours. None: the key is taken, by a committed row or by a transaction that is still running; the
-- lock is given back by the database itself when the transaction ends, also when its process was killed.
WITH lock AS MATERIALIZED (
    SELECT pg_try_advisory_xact_lock(%s) AS held
)
INSERT INTO bandstand_api_idempotencyrecord
    (caller, route, key, fingerprint, state, status, headers, body, created_at, expires_at)
SELECT %s, %s, %s, %s, %s, %s::smallint, %s::jsonb, %s::bytea, %s::timestamptz, %s::timestamptz FROM lock WHERE held
ON CONFLICT (caller, route, key) DO NOTHING
