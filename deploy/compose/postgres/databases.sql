-- Rendered by `bandstand export compose` from bandstand.toml.
\set ON_ERROR_STOP on
\set administrator `cat /run/secrets/postgres-administrator-verifier`
ALTER ROLE postgres PASSWORD :'administrator';
-- Every role may connect to every database until that is revoked.
REVOKE ALL ON DATABASE postgres FROM PUBLIC;
REVOKE ALL ON DATABASE template1 FROM PUBLIC;

\set first `cat /run/secrets/postgres-user-service`
\set second `cat /run/secrets/postgres-user-service.b`
CREATE TEMPORARY TABLE logins AS
  SELECT * FROM (VALUES ('user_service', :'first'), ('user_service.b', :'second')) AS login (name, verifier);
SELECT 'CREATE ROLE user_service NOLOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'user_service') \gexec
SELECT format('CREATE ROLE %I NOLOGIN IN ROLE user_service', name) FROM logins
  WHERE verifier <> '' AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
SELECT format('ALTER ROLE %I SET role = user_service', rolname) FROM pg_roles WHERE rolname = 'user_service.b' \gexec
SELECT format('ALTER ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 80', name)
  FROM logins WHERE verifier <> '' \gexec
SELECT format('ALTER ROLE %I PASSWORD %L', name, verifier) FROM logins WHERE verifier <> '' \gexec
SELECT format('ALTER ROLE %I SET statement_timeout = %L', name, '5min') FROM logins WHERE verifier <> '' \gexec
SELECT format('ALTER ROLE %I NOLOGIN PASSWORD NULL', name) FROM logins JOIN pg_roles ON rolname = name
  WHERE verifier = '' \gexec
SELECT pg_terminate_backend(pid) FROM pg_stat_activity JOIN logins ON usename = name WHERE verifier = '';
DROP TABLE logins;
SELECT 'CREATE DATABASE user_service OWNER user_service' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'user_service') \gexec
REVOKE ALL ON DATABASE user_service FROM PUBLIC;

\set first `cat /run/secrets/postgres-product-service`
\set second `cat /run/secrets/postgres-product-service.b`
CREATE TEMPORARY TABLE logins AS
  SELECT * FROM (VALUES ('product_service', :'first'), ('product_service.b', :'second')) AS login (name, verifier);
SELECT 'CREATE ROLE product_service NOLOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'product_service') \gexec
SELECT format('CREATE ROLE %I NOLOGIN IN ROLE product_service', name) FROM logins
  WHERE verifier <> '' AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
SELECT format('ALTER ROLE %I SET role = product_service', rolname) FROM pg_roles WHERE rolname = 'product_service.b' \gexec
SELECT format('ALTER ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 80', name)
  FROM logins WHERE verifier <> '' \gexec
SELECT format('ALTER ROLE %I PASSWORD %L', name, verifier) FROM logins WHERE verifier <> '' \gexec
SELECT format('ALTER ROLE %I SET statement_timeout = %L', name, '5min') FROM logins WHERE verifier <> '' \gexec
SELECT format('ALTER ROLE %I NOLOGIN PASSWORD NULL', name) FROM logins JOIN pg_roles ON rolname = name
  WHERE verifier = '' \gexec
SELECT pg_terminate_backend(pid) FROM pg_stat_activity JOIN logins ON usename = name WHERE verifier = '';
DROP TABLE logins;
SELECT 'CREATE DATABASE product_service OWNER product_service' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'product_service') \gexec
REVOKE ALL ON DATABASE product_service FROM PUBLIC;

\set first `cat /run/secrets/postgres-order-service`
\set second `cat /run/secrets/postgres-order-service.b`
CREATE TEMPORARY TABLE logins AS
  SELECT * FROM (VALUES ('order_service', :'first'), ('order_service.b', :'second')) AS login (name, verifier);
SELECT 'CREATE ROLE order_service NOLOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'order_service') \gexec
SELECT format('CREATE ROLE %I NOLOGIN IN ROLE order_service', name) FROM logins
  WHERE verifier <> '' AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
SELECT format('ALTER ROLE %I SET role = order_service', rolname) FROM pg_roles WHERE rolname = 'order_service.b' \gexec
SELECT format('ALTER ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 80', name)
  FROM logins WHERE verifier <> '' \gexec
SELECT format('ALTER ROLE %I PASSWORD %L', name, verifier) FROM logins WHERE verifier <> '' \gexec
SELECT format('ALTER ROLE %I SET statement_timeout = %L', name, '5min') FROM logins WHERE verifier <> '' \gexec
SELECT format('ALTER ROLE %I NOLOGIN PASSWORD NULL', name) FROM logins JOIN pg_roles ON rolname = name
  WHERE verifier = '' \gexec
SELECT pg_terminate_backend(pid) FROM pg_stat_activity JOIN logins ON usename = name WHERE verifier = '';
DROP TABLE logins;
SELECT 'CREATE DATABASE order_service OWNER order_service' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'order_service') \gexec
REVOKE ALL ON DATABASE order_service FROM PUBLIC;

\set first `cat /run/secrets/postgres-notification-service`
\set second `cat /run/secrets/postgres-notification-service.b`
CREATE TEMPORARY TABLE logins AS
  SELECT * FROM (VALUES ('notification_service', :'first'), ('notification_service.b', :'second')) AS login (name, verifier);
SELECT 'CREATE ROLE notification_service NOLOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'notification_service') \gexec
SELECT format('CREATE ROLE %I NOLOGIN IN ROLE notification_service', name) FROM logins
  WHERE verifier <> '' AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
SELECT format('ALTER ROLE %I SET role = notification_service', rolname) FROM pg_roles WHERE rolname = 'notification_service.b' \gexec
SELECT format('ALTER ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 80', name)
  FROM logins WHERE verifier <> '' \gexec
SELECT format('ALTER ROLE %I PASSWORD %L', name, verifier) FROM logins WHERE verifier <> '' \gexec
SELECT format('ALTER ROLE %I SET statement_timeout = %L', name, '5min') FROM logins WHERE verifier <> '' \gexec
SELECT format('ALTER ROLE %I NOLOGIN PASSWORD NULL', name) FROM logins JOIN pg_roles ON rolname = name
  WHERE verifier = '' \gexec
SELECT pg_terminate_backend(pid) FROM pg_stat_activity JOIN logins ON usename = name WHERE verifier = '';
DROP TABLE logins;
SELECT 'CREATE DATABASE notification_service OWNER notification_service' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'notification_service') \gexec
REVOKE ALL ON DATABASE notification_service FROM PUBLIC;
