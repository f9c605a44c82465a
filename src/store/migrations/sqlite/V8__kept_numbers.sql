-- Further rows typed in by hand that would stop something: a client without an id, a number after which no other is left,
-- a clock that can't be read.

-- A primary key that is a text may be NULL in SQLite. Such a client is nobody's, and the triggers would let no statement
-- change or delete its row.
DROP TRIGGER client_deleted;
DELETE FROM clients WHERE id IS NULL;
CREATE TRIGGER client_deleted AFTER DELETE ON clients WHEN OLD.id IS NOT NULL
BEGIN
  INSERT INTO revocations (target, revoked_at, expires_at)
  SELECT 'client:' || OLD.id, now, now + 3720000
  FROM (SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) AS now);
END;

CREATE TRIGGER client_unnamed BEFORE INSERT ON clients WHEN NEW.id IS NULL
BEGIN
  SELECT RAISE(ABORT, 'clients.id must be 1 to 64 letters, digits, dots, hyphens and underscores, a letter or digit first');
END;

CREATE TRIGGER client_made_unnamed BEFORE UPDATE OF id ON clients WHEN NEW.id IS NULL
BEGIN
  SELECT RAISE(ABORT, 'clients.id must be 1 to 64 letters, digits, dots, hyphens and underscores, a letter or digit first');
END;

-- AUTOINCREMENT gives out the number after the highest; after the highest that there can be it refuses every row. Beyond
-- 8 * 10^18 a number may be at most 10^12 above those before it. (`sqlite_sequence` is written after these triggers.)

CREATE TRIGGER user_numbered_far AFTER INSERT ON users
WHEN (NEW.id > 8000000000000000000 AND NEW.id - 1000000000000 > max(
  coalesce((SELECT max(id) FROM users WHERE id < NEW.id), 0), coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'users'), 0)))
BEGIN
  SELECT RAISE(ABORT, 'users.id must be at most 8 * 10^18; leave it out and it is given out');
END;

CREATE TRIGGER user_renumbered_far BEFORE UPDATE ON users
WHEN NEW.id <> OLD.id AND NEW.id > 8000000000000000000
BEGIN
  SELECT RAISE(ABORT, 'users.id must be at most 8 * 10^18');
END;

CREATE TRIGGER revocation_numbered AFTER INSERT ON revocations
WHEN NEW.seq < 1 OR (NEW.seq > 8000000000000000000 AND NEW.seq - 1000000000000 > max(
  coalesce((SELECT max(seq) FROM revocations WHERE seq < NEW.seq), 0), coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'revocations'), 0)))
BEGIN
  SELECT RAISE(ABORT, 'revocations.seq must be from 1 to 8 * 10^18; leave it out and it is given out');
END;

CREATE TRIGGER revocation_renumbered BEFORE UPDATE ON revocations
WHEN NEW.seq <> OLD.seq AND (NEW.seq < 1 OR NEW.seq > 8000000000000000000)
BEGIN
  SELECT RAISE(ABORT, 'revocations.seq must be from 1 to 8 * 10^18');
END;

CREATE TRIGGER audit_numbered AFTER INSERT ON audit
WHEN NEW.seq < 1 OR (NEW.seq > 8000000000000000000 AND NEW.seq - 1000000000000 > max(
  coalesce((SELECT max(seq) FROM audit WHERE seq < NEW.seq), 0), coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'audit'), 0)))
BEGIN
  SELECT RAISE(ABORT, 'audit.seq must be from 1 to 8 * 10^18; leave it out and it is given out');
END;

CREATE TRIGGER audit_renumbered BEFORE UPDATE ON audit
WHEN NEW.seq <> OLD.seq AND (NEW.seq < 1 OR NEW.seq > 8000000000000000000)
BEGIN
  SELECT RAISE(ABORT, 'audit.seq must be from 1 to 8 * 10^18');
END;

-- A clock that can't be read would stop the sweep. It is written anew by the next look at the clock.
DELETE FROM clock WHERE typeof(seen) <> 'integer' OR typeof(before) NOT IN ('integer', 'null') OR typeof(since) NOT IN ('integer', 'null');

CREATE TRIGGER clock_unreadable BEFORE INSERT ON clock
BEGIN
  SELECT CASE
    WHEN typeof(NEW.seen) NOT IN ('integer', 'null') OR NEW.seen NOT BETWEEN -62135596800000 AND 253402300799999
      THEN RAISE(ABORT, 'clock.seen must be a whole number, Unix time in milliseconds; a server writes it, and DELETE FROM clock makes it write anew')
    WHEN typeof(NEW.before) NOT IN ('integer', 'null') OR NEW.before NOT BETWEEN -62135596800000 AND 253402300799999
      THEN RAISE(ABORT, 'clock.before must be a whole number, Unix time in milliseconds; a server writes it, and DELETE FROM clock makes it write anew')
    WHEN typeof(NEW.since) NOT IN ('integer', 'null') OR NEW.since NOT BETWEEN -62135596800000 AND 253402300799999
      THEN RAISE(ABORT, 'clock.since must be a whole number, Unix time in milliseconds; a server writes it, and DELETE FROM clock makes it write anew')
  END;
END;

CREATE TRIGGER clock_made_unreadable BEFORE UPDATE OF seen, before, since ON clock
BEGIN
  SELECT CASE
    WHEN typeof(NEW.seen) NOT IN ('integer', 'null') OR NEW.seen NOT BETWEEN -62135596800000 AND 253402300799999
      THEN RAISE(ABORT, 'clock.seen must be a whole number, Unix time in milliseconds; a server writes it, and DELETE FROM clock makes it write anew')
    WHEN typeof(NEW.before) NOT IN ('integer', 'null') OR NEW.before NOT BETWEEN -62135596800000 AND 253402300799999
      THEN RAISE(ABORT, 'clock.before must be a whole number, Unix time in milliseconds; a server writes it, and DELETE FROM clock makes it write anew')
    WHEN typeof(NEW.since) NOT IN ('integer', 'null') OR NEW.since NOT BETWEEN -62135596800000 AND 253402300799999
      THEN RAISE(ABORT, 'clock.since must be a whole number, Unix time in milliseconds; a server writes it, and DELETE FROM clock makes it write anew')
  END;
END;
