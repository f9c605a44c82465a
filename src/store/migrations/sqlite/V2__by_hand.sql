-- Further ways of a database shell to end a session, and to write what no program can read.
-- Triggers on UPDATE name no columns where a row can be moved: `SET rowid = …` is an update of none that a list could name.

DROP TRIGGER session_renamed_over;
CREATE TRIGGER session_renamed_over BEFORE UPDATE ON sessions
WHEN (NEW.sid <> OLD.sid OR NEW.n <> OLD.n)
  AND EXISTS (SELECT 1 FROM sessions WHERE (sid = NEW.sid OR n = NEW.n) AND n <> OLD.n)
BEGIN
  DELETE FROM sessions WHERE (sid = NEW.sid OR n = NEW.n) AND n <> OLD.n;
END;

-- A renewal may shorten the idle time (by a new setting), but never into the past: that is somebody's way to end it.
DROP TRIGGER session_changed;
CREATE TRIGGER session_changed AFTER UPDATE OF sid, user_id, expires_at, idle_expires_at ON sessions
WHEN (OLD.sid <> NEW.sid OR OLD.user_id <> NEW.user_id OR NEW.expires_at < OLD.expires_at
    OR (NEW.idle_expires_at < OLD.idle_expires_at
      AND NEW.idle_expires_at <= CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)))
  AND min(OLD.idle_expires_at, OLD.expires_at) + 1020000 > CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)
BEGIN
  INSERT INTO revocations (target, revoked_at, expires_at)
  SELECT OLD.sid, now, now + 1020000
  FROM (SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) AS now);
END;

DROP TRIGGER user_renumbered;
CREATE TRIGGER user_renumbered AFTER UPDATE ON users
WHEN OLD.id <> NEW.id
BEGIN
  DELETE FROM sessions WHERE user_id IN (CAST(OLD.id AS TEXT), CAST(NEW.id AS TEXT));
END;

DROP TRIGGER user_renamed_over;
CREATE TRIGGER user_renamed_over BEFORE UPDATE ON users
WHEN (NEW.id <> OLD.id OR NEW.folded IS NOT OLD.folded)
  AND EXISTS (SELECT 1 FROM users WHERE (id = NEW.id OR folded = NEW.folded) AND id <> OLD.id)
BEGIN
  DELETE FROM sessions WHERE user_id IN
    (SELECT CAST(id AS TEXT) FROM users WHERE (id = NEW.id OR folded = NEW.folded) AND id <> OLD.id);
END;

CREATE TRIGGER client_renamed_over BEFORE UPDATE ON clients
WHEN NEW.id <> OLD.id AND EXISTS (SELECT 1 FROM clients WHERE id = NEW.id)
BEGIN
  DELETE FROM clients WHERE id = NEW.id;
END;

-- One row that can't be read would keep its owner out and every list from being shown.
CREATE TRIGGER user_unreadable BEFORE INSERT ON users
WHEN CASE WHEN json_valid(NEW.roles) THEN json_type(NEW.roles) <> 'array' ELSE 1 END
  OR CASE WHEN json_valid(NEW.claims) THEN json_type(NEW.claims) <> 'object' ELSE 1 END
BEGIN
  SELECT RAISE(ABORT, 'roles must be a JSON array, as ["admin"]; claims a JSON object, as {"plan":"team"}');
END;

CREATE TRIGGER user_made_unreadable BEFORE UPDATE OF roles, claims ON users
WHEN CASE WHEN json_valid(NEW.roles) THEN json_type(NEW.roles) <> 'array' ELSE 1 END
  OR CASE WHEN json_valid(NEW.claims) THEN json_type(NEW.claims) <> 'object' ELSE 1 END
BEGIN
  SELECT RAISE(ABORT, 'roles must be a JSON array, as ["admin"]; claims a JSON object, as {"plan":"team"}');
END;
