-- The identities of a user go along with another number. They stayed with the old one, for whoever might get that next.
DROP TRIGGER user_renumbered;
CREATE TRIGGER user_renumbered AFTER UPDATE ON users
WHEN OLD.id <> NEW.id
BEGIN
  DELETE FROM sessions WHERE user_id IN (CAST(OLD.id AS TEXT), CAST(NEW.id AS TEXT));
  -- Of a user who was replaced, or of none.
  DELETE FROM identities WHERE user_id = CAST(NEW.id AS TEXT);
  DELETE FROM replaced WHERE what = 'user' AND key = CAST(NEW.id AS TEXT);
  UPDATE identities SET user_id = CAST(NEW.id AS TEXT) WHERE user_id = CAST(OLD.id AS TEXT);
END;
