-- Rendered by `bandstand export compose` from bandstand.toml.
\set ON_ERROR_STOP on
-- Every role may connect to every database until that is revoked.
REVOKE ALL ON DATABASE postgres FROM PUBLIC;
REVOKE ALL ON DATABASE template1 FROM PUBLIC;

\set password `cat /run/secrets/postgres-user-service`
SELECT 'CREATE ROLE user_service' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'user_service') \gexec
ALTER ROLE user_service LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 80 PASSWORD :'password';
ALTER ROLE user_service SET statement_timeout = '5min';
SELECT 'CREATE DATABASE user_service OWNER user_service' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'user_service') \gexec
REVOKE ALL ON DATABASE user_service FROM PUBLIC;

\set password `cat /run/secrets/postgres-product-service`
SELECT 'CREATE ROLE product_service' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'product_service') \gexec
ALTER ROLE product_service LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 80 PASSWORD :'password';
ALTER ROLE product_service SET statement_timeout = '5min';
SELECT 'CREATE DATABASE product_service OWNER product_service' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'product_service') \gexec
REVOKE ALL ON DATABASE product_service FROM PUBLIC;

\set password `cat /run/secrets/postgres-order-service`
SELECT 'CREATE ROLE order_service' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'order_service') \gexec
ALTER ROLE order_service LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 80 PASSWORD :'password';
ALTER ROLE order_service SET statement_timeout = '5min';
SELECT 'CREATE DATABASE order_service OWNER order_service' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'order_service') \gexec
REVOKE ALL ON DATABASE order_service FROM PUBLIC;

\set password `cat /run/secrets/postgres-notification-service`
SELECT 'CREATE ROLE notification_service' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'notification_service') \gexec
ALTER ROLE notification_service LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 80 PASSWORD :'password';
ALTER ROLE notification_service SET statement_timeout = '5min';
SELECT 'CREATE DATABASE notification_service OWNER notification_service' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'notification_service') \gexec
REVOKE ALL ON DATABASE notification_service FROM PUBLIC;
