-- Clients with two secrets at a time, keys of their own and addresses to return to; sessions that a client holds.

ALTER TABLE clients ADD COLUMN former_hash BLOB;      -- the secret before,
ALTER TABLE clients ADD COLUMN former_until INTEGER;  -- good until then
ALTER TABLE clients ADD COLUMN jwks TEXT;             -- public keys it signs with: a JSON Web Key Set
ALTER TABLE clients ADD COLUMN redirect_uris TEXT NOT NULL DEFAULT '[]';

ALTER TABLE sessions ADD COLUMN client_id TEXT;       -- none: a login of our own pages
ALTER TABLE sessions ADD COLUMN scope TEXT;
CREATE INDEX sessions_client ON sessions (client_id) WHERE client_id IS NOT NULL;

-- A secret that overlaps with its successor takes no token along; one that ends before its time does.
DROP TRIGGER client_changed;
CREATE TRIGGER client_changed AFTER UPDATE ON clients
WHEN OLD.id <> NEW.id OR OLD.scopes <> NEW.scopes OR OLD.audiences <> NEW.audiences OR OLD.jwks IS NOT NEW.jwks
  OR (NEW.disabled <> 0 AND OLD.disabled = 0)
  OR (OLD.secret_hash IS NOT NEW.secret_hash AND NOT (OLD.secret_hash IS NOT NULL AND OLD.secret_hash IS NEW.former_hash
    AND coalesce(NEW.former_until, 0) > CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)))
  OR (OLD.former_until > CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)
    AND OLD.former_hash IS NOT NEW.secret_hash
    AND NOT (OLD.former_hash IS NEW.former_hash AND coalesce(NEW.former_until, 0) >= OLD.former_until))
BEGIN
  INSERT INTO revocations (target, revoked_at, expires_at)
  SELECT 'client:' || OLD.id, now, now + 3720000
  FROM (SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) AS now);
END;

-- A row may be in the way by its name or by its place.
DROP TRIGGER client_renamed_over;
CREATE TRIGGER client_renamed_over BEFORE UPDATE ON clients
WHEN (NEW.id <> OLD.id OR NEW.rowid <> OLD.rowid)
  AND EXISTS (SELECT 1 FROM clients WHERE (id = NEW.id OR rowid = NEW.rowid) AND rowid <> OLD.rowid)
BEGIN
  DELETE FROM clients WHERE (id = NEW.id OR rowid = NEW.rowid) AND rowid <> OLD.rowid;
END;

-- People whom a client has signed in are signed out of it when it is gone.
CREATE TRIGGER client_gone AFTER DELETE ON clients
BEGIN
  DELETE FROM sessions WHERE client_id = OLD.id;
END;

CREATE TRIGGER client_disabled AFTER UPDATE OF id, disabled ON clients
WHEN OLD.id <> NEW.id OR (NEW.disabled <> 0 AND OLD.disabled = 0)
BEGIN
  DELETE FROM sessions WHERE client_id = OLD.id;
END;
