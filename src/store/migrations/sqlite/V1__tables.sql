-- Users, sessions and what is kept about them. Times are Unix milliseconds.
-- Ids and `seq` are never used twice (AUTOINCREMENT).

CREATE TABLE users (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  name          TEXT    NOT NULL,
  folded        TEXT    UNIQUE,                -- how names are compared: case and homoglyphs removed; made by the program
  password_hash TEXT,                          -- PHC string; none: no password login
  roles         TEXT    NOT NULL DEFAULT '[]', -- JSON array
  claims        TEXT    NOT NULL DEFAULT '{}', -- JSON object
  disabled      INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
  created_at    INTEGER NOT NULL
);

CREATE TABLE identities (
  issuer  TEXT NOT NULL,
  subject TEXT NOT NULL,
  user_id TEXT NOT NULL,
  PRIMARY KEY (issuer, subject)
) WITHOUT ROWID;
CREATE INDEX identities_user ON identities (user_id);

-- `user_id` is users.id as text, or whatever names a user in an embedding program.
CREATE TABLE sessions (
  n               INTEGER PRIMARY KEY,
  sid             TEXT    NOT NULL UNIQUE,
  user_id         TEXT    NOT NULL,
  secret_hash     BLOB    NOT NULL,
  generation      INTEGER NOT NULL,
  rotated_at      INTEGER NOT NULL,
  pardoned_gen    INTEGER,
  pardoned_at     INTEGER,
  created_at      INTEGER NOT NULL,
  idle_expires_at INTEGER NOT NULL,
  expires_at      INTEGER NOT NULL,
  transport       TEXT    NOT NULL,
  user_agent      TEXT    NOT NULL DEFAULT '',
  ip              TEXT    NOT NULL DEFAULT ''
);
CREATE INDEX sessions_user ON sessions (user_id);

CREATE TABLE clients (
  id          TEXT    PRIMARY KEY,
  name        TEXT    NOT NULL,
  secret_hash BLOB,
  scopes      TEXT    NOT NULL DEFAULT '[]',
  audiences   TEXT    NOT NULL DEFAULT '[]',
  disabled    INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
  created_at  INTEGER NOT NULL
);

CREATE TABLE revocations (
  seq        INTEGER PRIMARY KEY AUTOINCREMENT,
  target     TEXT    NOT NULL, -- a sid, or client:<id>
  revoked_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
);

CREATE TABLE used (
  hash       BLOB    PRIMARY KEY,
  expires_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE audit (
  seq     INTEGER PRIMARY KEY AUTOINCREMENT,
  at      INTEGER NOT NULL,
  event   TEXT    NOT NULL,
  actor   TEXT    NOT NULL,
  subject TEXT    NOT NULL,
  detail  TEXT    NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_at ON audit (at);

-- The highest key ring this database has seen: one row.
CREATE TABLE ring (
  one         INTEGER PRIMARY KEY CHECK (one = 1),
  generation  INTEGER NOT NULL,
  fingerprint BLOB    NOT NULL
);

-- Nothing can end a live session without revoking it. A row counts as live until the last access token made
-- from it is dead: 15 minutes of ceiling and twice a minute of skew (1,020,000 ms) past its own end.
-- `now` is written out, for the sqlite3 shell of Debian 12 (3.40) knows no unixepoch('subsec').

CREATE TRIGGER session_deleted AFTER DELETE ON sessions
WHEN min(OLD.idle_expires_at, OLD.expires_at) + 1020000 > CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)
BEGIN
  INSERT INTO revocations (target, revoked_at, expires_at)
  SELECT OLD.sid, now, now + 1020000
  FROM (SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) AS now);
END;

-- INSERT OR REPLACE fires no delete trigger: the row in the way is deleted here, where one fires.
CREATE TRIGGER session_inserted_over BEFORE INSERT ON sessions
WHEN EXISTS (SELECT 1 FROM sessions WHERE sid = NEW.sid OR n = NEW.n)
BEGIN
  DELETE FROM sessions WHERE sid = NEW.sid OR n = NEW.n;
END;

CREATE TRIGGER session_renamed_over BEFORE UPDATE OF sid, n ON sessions
WHEN EXISTS (SELECT 1 FROM sessions WHERE (sid = NEW.sid OR n = NEW.n) AND n <> OLD.n)
BEGIN
  DELETE FROM sessions WHERE (sid = NEW.sid OR n = NEW.n) AND n <> OLD.n;
END;

CREATE TRIGGER session_changed AFTER UPDATE OF sid, user_id, expires_at ON sessions
WHEN (OLD.sid <> NEW.sid OR OLD.user_id <> NEW.user_id OR NEW.expires_at < OLD.expires_at)
  AND min(OLD.idle_expires_at, OLD.expires_at) + 1020000 > CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)
BEGIN
  INSERT INTO revocations (target, revoked_at, expires_at)
  SELECT OLD.sid, now, now + 1020000
  FROM (SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) AS now);
END;

CREATE TRIGGER user_deleted AFTER DELETE ON users
BEGIN
  DELETE FROM sessions WHERE user_id = CAST(OLD.id AS TEXT);
  DELETE FROM identities WHERE user_id = CAST(OLD.id AS TEXT);
END;

CREATE TRIGGER user_disabled AFTER UPDATE OF disabled ON users
WHEN NEW.disabled <> 0 AND OLD.disabled = 0
BEGIN
  DELETE FROM sessions WHERE user_id = CAST(OLD.id AS TEXT);
END;

CREATE TRIGGER user_renumbered AFTER UPDATE OF id ON users
WHEN OLD.id <> NEW.id
BEGIN
  DELETE FROM sessions WHERE user_id IN (CAST(OLD.id AS TEXT), CAST(NEW.id AS TEXT));
END;

-- A name typed in by hand: as near to the program's folding as SQL comes.
CREATE TRIGGER user_folded AFTER INSERT ON users WHEN NEW.folded IS NULL
BEGIN
  UPDATE users SET folded = lower(NEW.name) WHERE id = NEW.id;
END;

-- INSERT OR REPLACE: the user who had this id or name is gone, or is another one now.
CREATE TRIGGER user_inserted_over BEFORE INSERT ON users
WHEN EXISTS (SELECT 1 FROM users WHERE id = NEW.id OR folded = NEW.folded)
BEGIN
  DELETE FROM sessions WHERE user_id IN
    (SELECT CAST(id AS TEXT) FROM users WHERE id = NEW.id OR folded = NEW.folded);
END;

CREATE TRIGGER user_renamed_over BEFORE UPDATE OF id, folded ON users
WHEN EXISTS (SELECT 1 FROM users WHERE (id = NEW.id OR folded = NEW.folded) AND id <> OLD.id)
BEGIN
  DELETE FROM sessions WHERE user_id IN
    (SELECT CAST(id AS TEXT) FROM users WHERE (id = NEW.id OR folded = NEW.folded) AND id <> OLD.id);
END;

-- A client's tokens live an hour; an hour and twice the skew (3,720,000 ms).
CREATE TRIGGER client_deleted AFTER DELETE ON clients
BEGIN
  INSERT INTO revocations (target, revoked_at, expires_at)
  SELECT 'client:' || OLD.id, now, now + 3720000
  FROM (SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) AS now);
END;

CREATE TRIGGER client_changed AFTER UPDATE OF id, secret_hash, scopes, audiences, disabled ON clients
WHEN OLD.id <> NEW.id OR OLD.secret_hash IS NOT NEW.secret_hash OR OLD.scopes <> NEW.scopes
  OR OLD.audiences <> NEW.audiences OR (NEW.disabled <> 0 AND OLD.disabled = 0)
BEGIN
  INSERT INTO revocations (target, revoked_at, expires_at)
  SELECT 'client:' || OLD.id, now, now + 3720000
  FROM (SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) AS now);
END;

CREATE TRIGGER client_inserted_over BEFORE INSERT ON clients
WHEN EXISTS (SELECT 1 FROM clients WHERE id = NEW.id)
BEGIN
  DELETE FROM clients WHERE id = NEW.id;
END;
