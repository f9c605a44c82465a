-- A name is one user's, whatever stands in `folded`: the program folds look-alike letters too, so that "admin" is "adrnln"
-- there, and a second "admin" typed in by hand was no conflict.

-- Of users of one name the oldest keeps it.
UPDATE users SET name = name || ' ' || id WHERE id NOT IN (SELECT min(id) FROM users GROUP BY lower(name));
CREATE UNIQUE INDEX users_named ON users (lower(name));
