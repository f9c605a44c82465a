-- A name is one user's, whatever stands in `folded`: the program folds look-alike letters too, so that "admin" is "adrnln"
-- there, and a second "admin" typed in by hand was no conflict; nor was a user renamed to a name that another has.

-- Of users of one name the oldest keeps it.
UPDATE users SET name = name || ' ' || id WHERE id NOT IN (SELECT min(id) FROM users GROUP BY lower(name));
CREATE UNIQUE INDEX users_named ON users (lower(name));

DROP TRIGGER user_inserted_over;
CREATE TRIGGER user_inserted_over BEFORE INSERT ON users
WHEN EXISTS (SELECT 1 FROM users WHERE id = NEW.id OR coalesce(folded, lower(name)) = coalesce(NEW.folded, lower(NEW.name))
    OR lower(name) = lower(NEW.name))
  OR EXISTS (SELECT 1 FROM replaced WHERE what = 'user')
BEGIN
  DELETE FROM replaced WHERE what = 'user';
  INSERT INTO replaced (what, key) SELECT 'user', CAST(id AS TEXT) FROM users
    WHERE id = NEW.id OR coalesce(folded, lower(name)) = coalesce(NEW.folded, lower(NEW.name)) OR lower(name) = lower(NEW.name);
END;

DROP TRIGGER user_renamed_over;
CREATE TRIGGER user_renamed_over BEFORE UPDATE ON users
WHEN (NEW.id <> OLD.id OR NEW.folded IS NOT OLD.folded OR NEW.name IS NOT OLD.name)
  AND (EXISTS (SELECT 1 FROM users WHERE (id = NEW.id OR coalesce(folded, lower(name)) = coalesce(NEW.folded, lower(NEW.name))
      OR lower(name) = lower(NEW.name)) AND id <> OLD.id)
    OR EXISTS (SELECT 1 FROM replaced WHERE what = 'user'))
BEGIN
  DELETE FROM replaced WHERE what = 'user';
  INSERT INTO replaced (what, key) SELECT 'user', CAST(id AS TEXT) FROM users
    WHERE (id = NEW.id OR coalesce(folded, lower(name)) = coalesce(NEW.folded, lower(NEW.name)) OR lower(name) = lower(NEW.name))
      AND id <> OLD.id;
END;
