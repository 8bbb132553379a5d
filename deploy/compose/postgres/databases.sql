-- Rendered by `bandstand export compose` from bandstand.toml.
\set ON_ERROR_STOP on
\set verifier `cat /run/secrets/postgres-administrator-verifier`
ALTER ROLE postgres PASSWORD :'verifier';

CREATE TEMPORARY TABLE roles (owner text, name text, connections integer, verifier text);
\set verifier `cat /run/secrets/postgres-user-service`
INSERT INTO roles VALUES ('user_service', 'user_service', 80, :'verifier');
\set verifier `cat /run/secrets/postgres-user-service.b`
INSERT INTO roles VALUES ('user_service', 'user_service.b', 80, :'verifier');
\set verifier `cat /run/secrets/postgres-product-service`
INSERT INTO roles VALUES ('product_service', 'product_service', 80, :'verifier');
\set verifier `cat /run/secrets/postgres-product-service.b`
INSERT INTO roles VALUES ('product_service', 'product_service.b', 80, :'verifier');
\set verifier `cat /run/secrets/postgres-order-service`
INSERT INTO roles VALUES ('order_service', 'order_service', 80, :'verifier');
\set verifier `cat /run/secrets/postgres-order-service.b`
INSERT INTO roles VALUES ('order_service', 'order_service.b', 80, :'verifier');
\set verifier `cat /run/secrets/postgres-notification-service`
INSERT INTO roles VALUES ('notification_service', 'notification_service', 80, :'verifier');
\set verifier `cat /run/secrets/postgres-notification-service.b`
INSERT INTO roles VALUES ('notification_service', 'notification_service.b', 80, :'verifier');

SELECT format('CREATE ROLE %I NOLOGIN', owner) FROM roles
  WHERE name = owner AND name NOT IN (SELECT rolname FROM pg_roles) \gexec
SELECT format('CREATE ROLE %I NOLOGIN IN ROLE %I', name, owner) FROM roles
  WHERE verifier <> '' AND name NOT IN (SELECT rolname FROM pg_roles) \gexec
SELECT format('ALTER ROLE %I SET role = %L', name, owner) FROM roles
  WHERE name <> owner AND name IN (SELECT rolname FROM pg_roles) \gexec
SELECT format('ALTER ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION', name) FROM roles
  WHERE verifier <> '' \gexec
SELECT format('ALTER ROLE %I CONNECTION LIMIT %s PASSWORD %L', name, connections, verifier) FROM roles
  WHERE verifier <> '' \gexec
SELECT format('ALTER ROLE %I SET statement_timeout = %L', name, '5min') FROM roles
  WHERE verifier <> '' \gexec
SELECT format('ALTER ROLE %I NOLOGIN PASSWORD NULL', name) FROM roles
  WHERE verifier = '' AND name IN (SELECT rolname FROM pg_roles) \gexec
SELECT pg_terminate_backend(pid) FROM pg_stat_activity JOIN roles ON usename = name WHERE verifier = '';

SELECT format('CREATE DATABASE %I OWNER %I', owner, owner) FROM roles
  WHERE name = owner AND name NOT IN (SELECT datname FROM pg_database) \gexec
-- Every role may connect to every database until that is revoked.
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', name)
  FROM (SELECT owner FROM roles UNION VALUES ('postgres'), ('template1')) AS database (name) \gexec
