-- Clients with two secrets at a time, keys of their own and addresses to return to; sessions that a client holds.

ALTER TABLE clients
  ADD COLUMN former_hash   bytea,                       -- the secret before,
  ADD COLUMN former_until  bigint,                      -- good until then
  ADD COLUMN jwks          text,                        -- public keys it signs with: a JSON Web Key Set
  ADD COLUMN redirect_uris text NOT NULL DEFAULT '[]';

ALTER TABLE sessions
  ADD COLUMN client_id text COLLATE "C",                -- none: a login of our own pages
  ADD COLUMN scope     text;
CREATE INDEX sessions_client ON sessions (client_id) WHERE client_id IS NOT NULL;

-- A secret that overlaps with its successor takes no token along; one that ends before its time does.
DROP TRIGGER client_changed ON clients;
CREATE OR REPLACE FUNCTION bulla_client_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  now bigint := bulla_now();
  successor boolean := OLD.secret_hash IS NOT NULL AND OLD.secret_hash IS NOT DISTINCT FROM NEW.former_hash
    AND coalesce(NEW.former_until, 0) > now;
  kept boolean := OLD.former_hash IS NOT DISTINCT FROM NEW.secret_hash
    OR (OLD.former_hash IS NOT DISTINCT FROM NEW.former_hash AND coalesce(NEW.former_until, 0) >= OLD.former_until);
BEGIN
  IF OLD.id <> NEW.id OR OLD.scopes <> NEW.scopes OR OLD.audiences <> NEW.audiences
    OR OLD.jwks IS DISTINCT FROM NEW.jwks OR (NEW.disabled <> 0 AND OLD.disabled = 0)
    OR (OLD.secret_hash IS DISTINCT FROM NEW.secret_hash AND NOT successor)
    OR (coalesce(OLD.former_until, 0) > now AND NOT kept)
  THEN
    INSERT INTO revocations (target, revoked_at, expires_at) VALUES ('client:' || OLD.id, now, now + 3720000);
  END IF;
  -- People whom a client has signed in are signed out of it when it is gone.
  IF OLD.id <> NEW.id OR (NEW.disabled <> 0 AND OLD.disabled = 0) THEN
    DELETE FROM sessions WHERE client_id = OLD.id;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER client_changed AFTER UPDATE ON clients FOR EACH ROW EXECUTE FUNCTION bulla_client_changed();

CREATE OR REPLACE FUNCTION bulla_client_deleted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE now bigint := bulla_now();
BEGIN
  INSERT INTO revocations (target, revoked_at, expires_at)
  SELECT 'client:' || id, now, now + 3720000 FROM gone;
  DELETE FROM sessions WHERE client_id IN (SELECT id FROM gone);
  RETURN NULL;
END $$;

-- Replacing a function has put its search path back: as for every trigger's, the tables of this schema.
DO $$
DECLARE f text;
BEGIN
  FOREACH f IN ARRAY ARRAY['bulla_client_changed', 'bulla_client_deleted'] LOOP
    EXECUTE format('ALTER FUNCTION %I() SET search_path = %I, pg_temp', f, current_schema());
  END LOOP;
END $$;
