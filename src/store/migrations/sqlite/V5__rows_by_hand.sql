-- Rows written by hand: a row that the program can't read is refused in the shell, an end set for the future is one then,
-- INSERT OR IGNORE changes nothing, and a client is public only if its row says so.

-- A client that proves nothing. Never the absence of a secret: a row typed in without one would be open to everybody.
ALTER TABLE clients ADD COLUMN public INTEGER NOT NULL DEFAULT 0 CHECK (public IN (0, 1));
UPDATE clients SET public = 1 WHERE secret_hash IS NULL AND jwks IS NULL;

-- 1: takes effect at `revoked_at` if the session has ended then. A session that is renewed or extended before lives on.
ALTER TABLE revocations ADD COLUMN at_end INTEGER NOT NULL DEFAULT 0;
CREATE INDEX revocations_at_end ON revocations (revoked_at) WHERE at_end = 1;

-- What the sweep knows of the clock: one row. `seen` is when a server last looked. After a leap `before` is the last time
-- that was trusted and `since` the first of the new time.
CREATE TABLE clock (
  one    INTEGER PRIMARY KEY CHECK (one = 1),
  seen   INTEGER NOT NULL,
  before INTEGER,
  since  INTEGER
);

-- A BEFORE trigger sees no conflict clause. It notes which rows a REPLACE would delete; the AFTER trigger, which runs only
-- if the new row was written, revokes what they held. What INSERT OR IGNORE left here means nothing.
CREATE TABLE replaced (
  what TEXT NOT NULL, -- session, user or client
  key  TEXT NOT NULL
);

DROP TRIGGER session_deleted;
DROP TRIGGER session_inserted_over;
DROP TRIGGER session_renamed_over;
DROP TRIGGER session_changed;
DROP TRIGGER user_inserted_over;
DROP TRIGGER user_renamed_over;
DROP TRIGGER user_folded;
DROP TRIGGER user_unreadable;
DROP TRIGGER user_made_unreadable;
DROP TRIGGER client_inserted_over;
DROP TRIGGER client_renamed_over;
DROP TRIGGER client_changed;

-- Names that differ by case only are one name from the first moment on, so that a conflict clause sees the conflict.
UPDATE OR IGNORE users SET folded = lower(name) WHERE folded IS NULL;
UPDATE users SET folded = lower(name) || ' ' || id WHERE folded IS NULL;
CREATE UNIQUE INDEX users_spelled ON users (coalesce(folded, lower(name)));

-- Sessions.

-- A row whose times can't be read counts as live.
CREATE TRIGGER session_deleted AFTER DELETE ON sessions
WHEN typeof(OLD.idle_expires_at) <> 'integer' OR typeof(OLD.expires_at) <> 'integer'
  OR min(OLD.idle_expires_at, OLD.expires_at) + 1020000 > CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)
BEGIN
  DELETE FROM replaced WHERE what = 'session' AND key = OLD.sid;
  INSERT INTO revocations (target, revoked_at, expires_at)
  SELECT CAST(OLD.sid AS TEXT), now, now + 1020000 FROM (SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) AS now);
END;

CREATE TRIGGER session_inserted_over BEFORE INSERT ON sessions
WHEN EXISTS (SELECT 1 FROM sessions WHERE sid = NEW.sid OR n = NEW.n) OR EXISTS (SELECT 1 FROM replaced WHERE what = 'session')
BEGIN
  DELETE FROM replaced WHERE what = 'session';
  INSERT INTO replaced (what, key) SELECT 'session', sid FROM sessions WHERE (sid = NEW.sid OR n = NEW.n)
    AND (typeof(idle_expires_at) <> 'integer' OR typeof(expires_at) <> 'integer'
      OR min(idle_expires_at, expires_at) + 1020000 > CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));
END;

CREATE TRIGGER session_inserted AFTER INSERT ON sessions
WHEN EXISTS (SELECT 1 FROM replaced WHERE what = 'session')
BEGIN
  INSERT INTO revocations (target, revoked_at, expires_at)
  SELECT key, now, now + 1020000 FROM replaced, (SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) AS now) WHERE what = 'session';
  DELETE FROM replaced WHERE what = 'session';
END;

CREATE TRIGGER session_renamed_over BEFORE UPDATE ON sessions
WHEN (NEW.sid IS NOT OLD.sid OR NEW.n <> OLD.n)
  AND (EXISTS (SELECT 1 FROM sessions WHERE (sid = NEW.sid OR n = NEW.n) AND n <> OLD.n)
    OR EXISTS (SELECT 1 FROM replaced WHERE what = 'session'))
BEGIN
  DELETE FROM replaced WHERE what = 'session';
  INSERT INTO replaced (what, key) SELECT 'session', sid FROM sessions WHERE (sid = NEW.sid OR n = NEW.n) AND n <> OLD.n
    AND (typeof(idle_expires_at) <> 'integer' OR typeof(expires_at) <> 'integer'
      OR min(idle_expires_at, expires_at) + 1020000 > CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));
END;

CREATE TRIGGER session_renamed AFTER UPDATE ON sessions
WHEN (NEW.sid IS NOT OLD.sid OR NEW.n <> OLD.n) AND EXISTS (SELECT 1 FROM replaced WHERE what = 'session')
BEGIN
  INSERT INTO revocations (target, revoked_at, expires_at)
  SELECT key, now, now + 1020000 FROM replaced, (SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) AS now) WHERE what = 'session';
  DELETE FROM replaced WHERE what = 'session';
END;

-- Ended at once: another name or user, or an end set into the past.
CREATE TRIGGER session_changed AFTER UPDATE OF sid, user_id, expires_at, idle_expires_at ON sessions
WHEN (OLD.sid IS NOT NEW.sid OR OLD.user_id IS NOT NEW.user_id
    OR (NEW.expires_at < OLD.expires_at AND NEW.expires_at <= CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))
    OR (NEW.idle_expires_at < OLD.idle_expires_at AND NEW.idle_expires_at <= CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)))
  AND (typeof(OLD.idle_expires_at) <> 'integer' OR typeof(OLD.expires_at) <> 'integer'
    OR min(OLD.idle_expires_at, OLD.expires_at) + 1020000 > CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))
BEGIN
  INSERT INTO revocations (target, revoked_at, expires_at)
  SELECT CAST(OLD.sid AS TEXT), now, now + 1020000 FROM (SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) AS now);
END;

-- Ended later: access tokens made before the new end must not outlive it. Of a shorter idle time that is so only where an
-- access token may live as long; a renewal, which may shorten it by a new setting, moves `rotated_at`.
CREATE TRIGGER session_shortened AFTER UPDATE OF expires_at, idle_expires_at ON sessions
WHEN OLD.sid IS NEW.sid AND OLD.user_id IS NEW.user_id
  AND min(NEW.idle_expires_at, NEW.expires_at) > CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)
  AND (NEW.expires_at < OLD.expires_at
    OR (NEW.idle_expires_at < OLD.idle_expires_at AND NEW.rotated_at IS OLD.rotated_at
      AND NEW.idle_expires_at < CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) + 1020000))
BEGIN
  DELETE FROM revocations WHERE at_end = 1 AND target = NEW.sid;
  INSERT INTO revocations (target, revoked_at, expires_at, at_end)
  SELECT NEW.sid, ends, ends + 1020000, 1 FROM (SELECT min(NEW.idle_expires_at, NEW.expires_at) AS ends);
END;

-- A session that has ended stays ended: its revocation is kept for 17 minutes only. A renewal that was judged before the
-- end may be written just after it.
CREATE TRIGGER session_revived BEFORE UPDATE OF expires_at, idle_expires_at ON sessions
WHEN min(OLD.idle_expires_at, OLD.expires_at) <= CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)
  AND min(NEW.idle_expires_at, NEW.expires_at) > min(OLD.idle_expires_at, OLD.expires_at)
  AND typeof(OLD.idle_expires_at) = 'integer' AND typeof(OLD.expires_at) = 'integer'
  AND NOT (NEW.rotated_at > OLD.rotated_at AND NEW.rotated_at < min(OLD.idle_expires_at, OLD.expires_at))
BEGIN
  SELECT RAISE(ABORT, 'this session has ended and can''t be made to live again: leave expires_at and idle_expires_at as they are; the user logs in anew');
END;

-- Users.

CREATE TRIGGER user_inserted_over BEFORE INSERT ON users
WHEN EXISTS (SELECT 1 FROM users WHERE id = NEW.id OR coalesce(folded, lower(name)) = coalesce(NEW.folded, lower(NEW.name)))
  OR EXISTS (SELECT 1 FROM replaced WHERE what = 'user')
BEGIN
  DELETE FROM replaced WHERE what = 'user';
  INSERT INTO replaced (what, key) SELECT 'user', CAST(id AS TEXT) FROM users
    WHERE id = NEW.id OR coalesce(folded, lower(name)) = coalesce(NEW.folded, lower(NEW.name));
END;

-- The user who had this id or name is gone, or is another one now. A name typed in by hand: as near to the program's
-- folding as SQL comes.
CREATE TRIGGER user_inserted AFTER INSERT ON users
WHEN NEW.folded IS NULL OR EXISTS (SELECT 1 FROM replaced WHERE what = 'user')
BEGIN
  DELETE FROM sessions WHERE user_id IN (SELECT key FROM replaced WHERE what = 'user');
  DELETE FROM identities WHERE user_id IN (SELECT key FROM replaced WHERE what = 'user');
  DELETE FROM replaced WHERE what = 'user';
  UPDATE users SET folded = lower(NEW.name) WHERE id = NEW.id AND folded IS NULL;
END;

CREATE TRIGGER user_renamed_over BEFORE UPDATE ON users
WHEN (NEW.id <> OLD.id OR NEW.folded IS NOT OLD.folded)
  AND (EXISTS (SELECT 1 FROM users WHERE (id = NEW.id OR coalesce(folded, lower(name)) = coalesce(NEW.folded, lower(NEW.name))) AND id <> OLD.id)
    OR EXISTS (SELECT 1 FROM replaced WHERE what = 'user'))
BEGIN
  DELETE FROM replaced WHERE what = 'user';
  INSERT INTO replaced (what, key) SELECT 'user', CAST(id AS TEXT) FROM users
    WHERE (id = NEW.id OR coalesce(folded, lower(name)) = coalesce(NEW.folded, lower(NEW.name))) AND id <> OLD.id;
END;

-- A user under another name is somebody else.
CREATE TRIGGER user_renamed AFTER UPDATE ON users
WHEN NEW.name IS NOT OLD.name OR ((NEW.id <> OLD.id OR NEW.folded IS NOT OLD.folded)
  AND EXISTS (SELECT 1 FROM replaced WHERE what = 'user'))
BEGIN
  DELETE FROM sessions WHERE user_id IN (SELECT key FROM replaced WHERE what = 'user')
    OR (NEW.name IS NOT OLD.name AND user_id = CAST(OLD.id AS TEXT));
  DELETE FROM identities WHERE user_id IN (SELECT key FROM replaced WHERE what = 'user');
  DELETE FROM replaced WHERE what = 'user';
  UPDATE users SET folded = lower(NEW.name)
    WHERE id = NEW.id AND NEW.name IS NOT OLD.name AND NEW.folded IS OLD.folded;
END;

-- Clients.

CREATE TRIGGER client_inserted_over BEFORE INSERT ON clients
WHEN EXISTS (SELECT 1 FROM clients WHERE id = NEW.id OR rowid = NEW.rowid) OR EXISTS (SELECT 1 FROM replaced WHERE what = 'client')
BEGIN
  DELETE FROM replaced WHERE what = 'client';
  INSERT INTO replaced (what, key) SELECT 'client', id FROM clients WHERE id = NEW.id OR rowid = NEW.rowid;
END;

CREATE TRIGGER client_inserted AFTER INSERT ON clients
WHEN EXISTS (SELECT 1 FROM replaced WHERE what = 'client')
BEGIN
  DELETE FROM sessions WHERE client_id IN (SELECT key FROM replaced WHERE what = 'client');
  INSERT INTO revocations (target, revoked_at, expires_at)
  SELECT 'client:' || key, now, now + 3720000 FROM replaced, (SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) AS now) WHERE what = 'client';
  DELETE FROM replaced WHERE what = 'client';
END;

CREATE TRIGGER client_renamed_over BEFORE UPDATE ON clients
WHEN (NEW.id IS NOT OLD.id OR NEW.rowid <> OLD.rowid)
  AND (EXISTS (SELECT 1 FROM clients WHERE (id = NEW.id OR rowid = NEW.rowid) AND rowid <> OLD.rowid)
    OR EXISTS (SELECT 1 FROM replaced WHERE what = 'client'))
BEGIN
  DELETE FROM replaced WHERE what = 'client';
  INSERT INTO replaced (what, key) SELECT 'client', id FROM clients WHERE (id = NEW.id OR rowid = NEW.rowid) AND rowid <> OLD.rowid;
END;

CREATE TRIGGER client_renamed AFTER UPDATE ON clients
WHEN (NEW.id IS NOT OLD.id OR NEW.rowid <> OLD.rowid) AND EXISTS (SELECT 1 FROM replaced WHERE what = 'client')
BEGIN
  DELETE FROM sessions WHERE client_id IN (SELECT key FROM replaced WHERE what = 'client');
  INSERT INTO revocations (target, revoked_at, expires_at)
  SELECT 'client:' || key, now, now + 3720000 FROM replaced, (SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) AS now) WHERE what = 'client';
  DELETE FROM replaced WHERE what = 'client';
END;

-- A secret that overlaps with its successor takes no token along; one that ends before its time does.
CREATE TRIGGER client_changed AFTER UPDATE ON clients
WHEN OLD.id IS NOT NEW.id OR OLD.scopes IS NOT NEW.scopes OR OLD.audiences IS NOT NEW.audiences OR OLD.jwks IS NOT NEW.jwks
  OR OLD.public <> NEW.public OR (NEW.disabled <> 0 AND OLD.disabled = 0)
  OR (OLD.secret_hash IS NOT NEW.secret_hash AND NOT (OLD.secret_hash IS NOT NULL AND OLD.secret_hash IS NEW.former_hash
    AND coalesce(NEW.former_until, 0) > CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)))
  OR (OLD.former_until > CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)
    AND OLD.former_hash IS NOT NEW.secret_hash
    AND NOT (OLD.former_hash IS NEW.former_hash AND coalesce(NEW.former_until, 0) >= OLD.former_until))
BEGIN
  INSERT INTO revocations (target, revoked_at, expires_at)
  SELECT 'client:' || OLD.id, now, now + 3720000 FROM (SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) AS now);
END;

CREATE TRIGGER client_open BEFORE INSERT ON clients
WHEN NEW.public <> 0 AND (NEW.secret_hash IS NOT NULL OR NEW.former_hash IS NOT NULL OR NEW.jwks IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'a public client has no secret and no keys: write public = 0, or leave secret_hash, former_hash and jwks NULL');
END;

CREATE TRIGGER client_opened BEFORE UPDATE OF public, secret_hash, former_hash, jwks ON clients
WHEN NEW.public <> 0 AND (NEW.secret_hash IS NOT NULL OR NEW.former_hash IS NOT NULL OR NEW.jwks IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'a public client has no secret and no keys: write public = 0, or leave secret_hash, former_hash and jwks NULL');
END;

-- Ids and folded names that no program can find a row by.

CREATE TRIGGER user_numbered AFTER INSERT ON users WHEN NEW.id < 1
BEGIN
  SELECT RAISE(ABORT, 'users.id must be 1 or more; leave it out and it is given out');
END;

CREATE TRIGGER user_misnumbered BEFORE UPDATE ON users
WHEN NEW.id < 1 OR (NEW.folded IS NULL AND OLD.folded IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'users.id must be 1 or more, and users.folded must be a text: the name in lower case');
END;

-- One row that can't be read would keep its owner out. Each column that an UPDATE leaves as it was passes, so that a row
-- which was bad before can be mended column by column.

CREATE TRIGGER session_unreadable BEFORE INSERT ON sessions
BEGIN
  SELECT CASE
    WHEN typeof(NEW.sid) NOT IN ('text', 'null') OR length(CAST(NEW.sid AS BLOB)) <> 22 OR NEW.sid GLOB '*[^A-Za-z0-9_-]*' OR NEW.sid NOT GLOB '*[AQgw]'
      THEN RAISE(ABORT, 'sessions.sid must be 22 characters of base64url, 16 bytes, as `bulla session list` shows them')
    WHEN typeof(NEW.user_id) NOT IN ('text', 'null') OR length(CAST(NEW.user_id AS BLOB)) NOT BETWEEN 1 AND 255
      THEN RAISE(ABORT, 'sessions.user_id must be a text of 1 to 255 bytes: users.id as text')
    WHEN typeof(NEW.secret_hash) NOT IN ('blob', 'null') OR length(NEW.secret_hash) <> 32
      THEN RAISE(ABORT, 'sessions.secret_hash must be a blob of 32 bytes, a SHA-256; only a login can make one')
    WHEN typeof(NEW.generation) NOT IN ('integer', 'null') OR NEW.generation NOT BETWEEN 0 AND 9007199254740992
      THEN RAISE(ABORT, 'sessions.generation must be a whole number from 0 to 2^53')
    WHEN typeof(NEW.rotated_at) NOT IN ('integer', 'null') OR NEW.rotated_at NOT BETWEEN -62135596800000 AND 253402300799999
      THEN RAISE(ABORT, 'sessions.rotated_at must be a whole number, Unix time in milliseconds, for example unixepoch(''now'', ''+1 hour'') * 1000')
    WHEN typeof(NEW.pardoned_gen) NOT IN ('integer', 'null') OR NEW.pardoned_gen NOT BETWEEN 0 AND 9007199254740992
      THEN RAISE(ABORT, 'sessions.pardoned_gen must be NULL or a whole number from 0 to 2^53')
    WHEN typeof(NEW.pardoned_at) NOT IN ('integer', 'null') OR NEW.pardoned_at NOT BETWEEN -62135596800000 AND 253402300799999
      THEN RAISE(ABORT, 'sessions.pardoned_at must be a whole number, Unix time in milliseconds, for example unixepoch(''now'', ''+1 hour'') * 1000')
    WHEN typeof(NEW.created_at) NOT IN ('integer', 'null') OR NEW.created_at NOT BETWEEN -62135596800000 AND 253402300799999
      THEN RAISE(ABORT, 'sessions.created_at must be a whole number, Unix time in milliseconds, for example unixepoch(''now'', ''+1 hour'') * 1000')
    WHEN typeof(NEW.idle_expires_at) NOT IN ('integer', 'null') OR NEW.idle_expires_at NOT BETWEEN -62135596800000 AND 253402300799999
      THEN RAISE(ABORT, 'sessions.idle_expires_at must be a whole number, Unix time in milliseconds, for example unixepoch(''now'', ''+1 hour'') * 1000')
    WHEN typeof(NEW.expires_at) NOT IN ('integer', 'null') OR NEW.expires_at NOT BETWEEN -62135596800000 AND 253402300799999
      THEN RAISE(ABORT, 'sessions.expires_at must be a whole number, Unix time in milliseconds, for example unixepoch(''now'', ''+1 hour'') * 1000')
    WHEN NEW.transport NOT IN ('cookie', 'body', 'hybrid', 'basic')
      THEN RAISE(ABORT, 'sessions.transport must be ''cookie'', ''body'', ''hybrid'' or ''basic''')
    WHEN typeof(NEW.user_agent) NOT IN ('text', 'null')
      THEN RAISE(ABORT, 'sessions.user_agent must be a text')
    WHEN typeof(NEW.ip) NOT IN ('text', 'null')
      THEN RAISE(ABORT, 'sessions.ip must be a text')
    WHEN typeof(NEW.client_id) NOT IN ('text', 'null') OR length(NEW.client_id) NOT BETWEEN 1 AND 64 OR NEW.client_id GLOB '*[^A-Za-z0-9._-]*' OR NEW.client_id GLOB '[._-]*'
      THEN RAISE(ABORT, 'sessions.client_id must be NULL or clients.id of the client that holds the session')
    WHEN typeof(NEW.scope) NOT IN ('text', 'null') OR NEW.scope GLOB '*[^ !#-~]*' OR instr(NEW.scope, '\') OR NEW.scope GLOB ' *' OR NEW.scope GLOB '* ' OR NEW.scope GLOB '*  *'
      OR length(NEW.scope) - length(replace(NEW.scope, ' ', '')) > 15 OR ' ' || NEW.scope GLOB '* ' || replace(hex(zeroblob(65)), '00', '[^ ]') || '*'
      THEN RAISE(ABORT, 'sessions.scope must be NULL or at most 16 words of at most 64 characters with one blank between them, for example ''read write''')
  END;
END;

CREATE TRIGGER session_made_unreadable BEFORE UPDATE OF sid, user_id, secret_hash, generation, rotated_at, pardoned_gen, pardoned_at, created_at, idle_expires_at, expires_at, transport, user_agent, ip, client_id, scope ON sessions
BEGIN
  SELECT CASE
    WHEN NEW.sid IS NOT OLD.sid AND (typeof(NEW.sid) NOT IN ('text', 'null') OR length(CAST(NEW.sid AS BLOB)) <> 22 OR NEW.sid GLOB '*[^A-Za-z0-9_-]*' OR NEW.sid NOT GLOB '*[AQgw]')
      THEN RAISE(ABORT, 'sessions.sid must be 22 characters of base64url, 16 bytes, as `bulla session list` shows them')
    WHEN NEW.user_id IS NOT OLD.user_id AND (typeof(NEW.user_id) NOT IN ('text', 'null') OR length(CAST(NEW.user_id AS BLOB)) NOT BETWEEN 1 AND 255)
      THEN RAISE(ABORT, 'sessions.user_id must be a text of 1 to 255 bytes: users.id as text')
    WHEN NEW.secret_hash IS NOT OLD.secret_hash AND (typeof(NEW.secret_hash) NOT IN ('blob', 'null') OR length(NEW.secret_hash) <> 32)
      THEN RAISE(ABORT, 'sessions.secret_hash must be a blob of 32 bytes, a SHA-256; only a login can make one')
    WHEN NEW.generation IS NOT OLD.generation AND (typeof(NEW.generation) NOT IN ('integer', 'null') OR NEW.generation NOT BETWEEN 0 AND 9007199254740992)
      THEN RAISE(ABORT, 'sessions.generation must be a whole number from 0 to 2^53')
    WHEN NEW.rotated_at IS NOT OLD.rotated_at AND (typeof(NEW.rotated_at) NOT IN ('integer', 'null') OR NEW.rotated_at NOT BETWEEN -62135596800000 AND 253402300799999)
      THEN RAISE(ABORT, 'sessions.rotated_at must be a whole number, Unix time in milliseconds, for example unixepoch(''now'', ''+1 hour'') * 1000')
    WHEN NEW.pardoned_gen IS NOT OLD.pardoned_gen AND (typeof(NEW.pardoned_gen) NOT IN ('integer', 'null') OR NEW.pardoned_gen NOT BETWEEN 0 AND 9007199254740992)
      THEN RAISE(ABORT, 'sessions.pardoned_gen must be NULL or a whole number from 0 to 2^53')
    WHEN NEW.pardoned_at IS NOT OLD.pardoned_at AND (typeof(NEW.pardoned_at) NOT IN ('integer', 'null') OR NEW.pardoned_at NOT BETWEEN -62135596800000 AND 253402300799999)
      THEN RAISE(ABORT, 'sessions.pardoned_at must be a whole number, Unix time in milliseconds, for example unixepoch(''now'', ''+1 hour'') * 1000')
    WHEN NEW.created_at IS NOT OLD.created_at AND (typeof(NEW.created_at) NOT IN ('integer', 'null') OR NEW.created_at NOT BETWEEN -62135596800000 AND 253402300799999)
      THEN RAISE(ABORT, 'sessions.created_at must be a whole number, Unix time in milliseconds, for example unixepoch(''now'', ''+1 hour'') * 1000')
    WHEN NEW.idle_expires_at IS NOT OLD.idle_expires_at AND (typeof(NEW.idle_expires_at) NOT IN ('integer', 'null') OR NEW.idle_expires_at NOT BETWEEN -62135596800000 AND 253402300799999)
      THEN RAISE(ABORT, 'sessions.idle_expires_at must be a whole number, Unix time in milliseconds, for example unixepoch(''now'', ''+1 hour'') * 1000')
    WHEN NEW.expires_at IS NOT OLD.expires_at AND (typeof(NEW.expires_at) NOT IN ('integer', 'null') OR NEW.expires_at NOT BETWEEN -62135596800000 AND 253402300799999)
      THEN RAISE(ABORT, 'sessions.expires_at must be a whole number, Unix time in milliseconds, for example unixepoch(''now'', ''+1 hour'') * 1000')
    WHEN NEW.transport IS NOT OLD.transport AND (NEW.transport NOT IN ('cookie', 'body', 'hybrid', 'basic'))
      THEN RAISE(ABORT, 'sessions.transport must be ''cookie'', ''body'', ''hybrid'' or ''basic''')
    WHEN NEW.user_agent IS NOT OLD.user_agent AND (typeof(NEW.user_agent) NOT IN ('text', 'null'))
      THEN RAISE(ABORT, 'sessions.user_agent must be a text')
    WHEN NEW.ip IS NOT OLD.ip AND (typeof(NEW.ip) NOT IN ('text', 'null'))
      THEN RAISE(ABORT, 'sessions.ip must be a text')
    WHEN NEW.client_id IS NOT OLD.client_id AND (typeof(NEW.client_id) NOT IN ('text', 'null') OR length(NEW.client_id) NOT BETWEEN 1 AND 64 OR NEW.client_id GLOB '*[^A-Za-z0-9._-]*' OR NEW.client_id GLOB '[._-]*')
      THEN RAISE(ABORT, 'sessions.client_id must be NULL or clients.id of the client that holds the session')
    WHEN NEW.scope IS NOT OLD.scope AND (typeof(NEW.scope) NOT IN ('text', 'null') OR NEW.scope GLOB '*[^ !#-~]*' OR instr(NEW.scope, '\') OR NEW.scope GLOB ' *' OR NEW.scope GLOB '* ' OR NEW.scope GLOB '*  *'
      OR length(NEW.scope) - length(replace(NEW.scope, ' ', '')) > 15 OR ' ' || NEW.scope GLOB '* ' || replace(hex(zeroblob(65)), '00', '[^ ]') || '*')
      THEN RAISE(ABORT, 'sessions.scope must be NULL or at most 16 words of at most 64 characters with one blank between them, for example ''read write''')
  END;
END;

CREATE TRIGGER user_unreadable BEFORE INSERT ON users
BEGIN
  SELECT CASE
    WHEN typeof(NEW.name) NOT IN ('text', 'null') OR NEW.name = ''
      THEN RAISE(ABORT, 'users.name must be a text that is not empty')
    WHEN typeof(NEW.folded) NOT IN ('text', 'null')
      THEN RAISE(ABORT, 'users.folded must be a text: the name in lower case; leave it out of an INSERT and it is filled in')
    WHEN typeof(NEW.password_hash) NOT IN ('text', 'null')
      THEN RAISE(ABORT, 'users.password_hash must be NULL or a text; `bulla user passwd NAME` sets a password')
    WHEN typeof(NEW.roles) NOT IN ('text', 'null') OR CASE WHEN json_valid(NEW.roles) THEN json_type(NEW.roles) <> 'array'
      OR EXISTS (SELECT 1 FROM json_each(NEW.roles) WHERE type <> 'text') ELSE NEW.roles IS NOT NULL END
      THEN RAISE(ABORT, 'users.roles must be a JSON array of strings, for example ''["admin"]''')
    WHEN typeof(NEW.claims) NOT IN ('text', 'null') OR CASE WHEN json_valid(NEW.claims) THEN json_type(NEW.claims) <> 'object' ELSE NEW.claims IS NOT NULL END
      THEN RAISE(ABORT, 'users.claims must be a JSON object, for example ''{"plan":"team"}''')
    WHEN typeof(NEW.created_at) NOT IN ('integer', 'null') OR NEW.created_at NOT BETWEEN -62135596800000 AND 253402300799999
      THEN RAISE(ABORT, 'users.created_at must be a whole number, Unix time in milliseconds, for example unixepoch(''now'', ''+1 hour'') * 1000')
  END;
END;

CREATE TRIGGER user_made_unreadable BEFORE UPDATE OF name, folded, password_hash, roles, claims, created_at ON users
BEGIN
  SELECT CASE
    WHEN NEW.name IS NOT OLD.name AND (typeof(NEW.name) NOT IN ('text', 'null') OR NEW.name = '')
      THEN RAISE(ABORT, 'users.name must be a text that is not empty')
    WHEN NEW.folded IS NOT OLD.folded AND (typeof(NEW.folded) NOT IN ('text', 'null'))
      THEN RAISE(ABORT, 'users.folded must be a text: the name in lower case; leave it out of an INSERT and it is filled in')
    WHEN NEW.password_hash IS NOT OLD.password_hash AND (typeof(NEW.password_hash) NOT IN ('text', 'null'))
      THEN RAISE(ABORT, 'users.password_hash must be NULL or a text; `bulla user passwd NAME` sets a password')
    WHEN NEW.roles IS NOT OLD.roles AND (typeof(NEW.roles) NOT IN ('text', 'null') OR CASE WHEN json_valid(NEW.roles) THEN json_type(NEW.roles) <> 'array'
      OR EXISTS (SELECT 1 FROM json_each(NEW.roles) WHERE type <> 'text') ELSE NEW.roles IS NOT NULL END)
      THEN RAISE(ABORT, 'users.roles must be a JSON array of strings, for example ''["admin"]''')
    WHEN NEW.claims IS NOT OLD.claims AND (typeof(NEW.claims) NOT IN ('text', 'null') OR CASE WHEN json_valid(NEW.claims) THEN json_type(NEW.claims) <> 'object' ELSE NEW.claims IS NOT NULL END)
      THEN RAISE(ABORT, 'users.claims must be a JSON object, for example ''{"plan":"team"}''')
    WHEN NEW.created_at IS NOT OLD.created_at AND (typeof(NEW.created_at) NOT IN ('integer', 'null') OR NEW.created_at NOT BETWEEN -62135596800000 AND 253402300799999)
      THEN RAISE(ABORT, 'users.created_at must be a whole number, Unix time in milliseconds, for example unixepoch(''now'', ''+1 hour'') * 1000')
  END;
END;

CREATE TRIGGER client_unreadable BEFORE INSERT ON clients
BEGIN
  SELECT CASE
    WHEN typeof(NEW.id) NOT IN ('text', 'null') OR length(NEW.id) NOT BETWEEN 1 AND 64 OR NEW.id GLOB '*[^A-Za-z0-9._-]*' OR NEW.id GLOB '[._-]*'
      THEN RAISE(ABORT, 'clients.id must be 1 to 64 letters, digits, dots, hyphens and underscores, a letter or digit first')
    WHEN typeof(NEW.name) NOT IN ('text', 'null') OR NEW.name = ''
      THEN RAISE(ABORT, 'clients.name must be a text that is not empty')
    WHEN typeof(NEW.secret_hash) NOT IN ('blob', 'null') OR length(NEW.secret_hash) <> 32
      THEN RAISE(ABORT, 'clients.secret_hash must be NULL or a blob of 32 bytes, a SHA-256; `bulla client rotate-secret NAME` makes a secret')
    WHEN typeof(NEW.former_hash) NOT IN ('blob', 'null') OR length(NEW.former_hash) <> 32
      THEN RAISE(ABORT, 'clients.former_hash must be NULL or a blob of 32 bytes, a SHA-256')
    WHEN typeof(NEW.former_until) NOT IN ('integer', 'null') OR NEW.former_until NOT BETWEEN -62135596800000 AND 253402300799999
      THEN RAISE(ABORT, 'clients.former_until must be a whole number, Unix time in milliseconds, for example unixepoch(''now'', ''+1 hour'') * 1000')
    WHEN typeof(NEW.jwks) NOT IN ('text', 'null') OR CASE WHEN json_valid(NEW.jwks) THEN json_type(NEW.jwks) <> 'object' ELSE NEW.jwks IS NOT NULL END
      THEN RAISE(ABORT, 'clients.jwks must be NULL or a JSON object with the keys; `bulla client change NAME --jwks FILE` checks and sets them')
    WHEN typeof(NEW.scopes) NOT IN ('text', 'null') OR CASE WHEN json_valid(NEW.scopes) THEN json_type(NEW.scopes) <> 'array'
      OR EXISTS (SELECT 1 FROM json_each(NEW.scopes) WHERE type <> 'text' OR length(value) NOT BETWEEN 1 AND 64 OR value GLOB '*[^!#-~]*' OR instr(value, '\')) ELSE NEW.scopes IS NOT NULL END
    OR CASE WHEN json_valid(NEW.scopes) THEN json_array_length(NEW.scopes) > 16 END
      THEN RAISE(ABORT, 'clients.scopes must be a JSON array of strings, for example ''["read","write"]'': at most 16 words of at most 64 characters')
    WHEN typeof(NEW.audiences) NOT IN ('text', 'null') OR CASE WHEN json_valid(NEW.audiences) THEN json_type(NEW.audiences) <> 'array'
      OR EXISTS (SELECT 1 FROM json_each(NEW.audiences) WHERE type <> 'text' OR length(value) > 64 OR value GLOB '*[^a-z0-9.-]*' OR value GLOB '[.-]*') ELSE NEW.audiences IS NOT NULL END
      THEN RAISE(ABORT, 'clients.audiences must be a JSON array of strings, for example ''["billing"]'': lower-case letters, digits, dots and hyphens')
    WHEN typeof(NEW.redirect_uris) NOT IN ('text', 'null') OR CASE WHEN json_valid(NEW.redirect_uris) THEN json_type(NEW.redirect_uris) <> 'array'
      OR EXISTS (SELECT 1 FROM json_each(NEW.redirect_uris) WHERE type <> 'text') ELSE NEW.redirect_uris IS NOT NULL END
      THEN RAISE(ABORT, 'clients.redirect_uris must be a JSON array of strings, for example ''["https://app.example/back"]''')
    WHEN typeof(NEW.created_at) NOT IN ('integer', 'null') OR NEW.created_at NOT BETWEEN -62135596800000 AND 253402300799999
      THEN RAISE(ABORT, 'clients.created_at must be a whole number, Unix time in milliseconds, for example unixepoch(''now'', ''+1 hour'') * 1000')
  END;
END;

CREATE TRIGGER client_made_unreadable BEFORE UPDATE OF id, name, secret_hash, former_hash, former_until, jwks, scopes, audiences, redirect_uris, created_at ON clients
BEGIN
  SELECT CASE
    WHEN NEW.id IS NOT OLD.id AND (typeof(NEW.id) NOT IN ('text', 'null') OR length(NEW.id) NOT BETWEEN 1 AND 64 OR NEW.id GLOB '*[^A-Za-z0-9._-]*' OR NEW.id GLOB '[._-]*')
      THEN RAISE(ABORT, 'clients.id must be 1 to 64 letters, digits, dots, hyphens and underscores, a letter or digit first')
    WHEN NEW.name IS NOT OLD.name AND (typeof(NEW.name) NOT IN ('text', 'null') OR NEW.name = '')
      THEN RAISE(ABORT, 'clients.name must be a text that is not empty')
    WHEN NEW.secret_hash IS NOT OLD.secret_hash AND (typeof(NEW.secret_hash) NOT IN ('blob', 'null') OR length(NEW.secret_hash) <> 32)
      THEN RAISE(ABORT, 'clients.secret_hash must be NULL or a blob of 32 bytes, a SHA-256; `bulla client rotate-secret NAME` makes a secret')
    WHEN NEW.former_hash IS NOT OLD.former_hash AND (typeof(NEW.former_hash) NOT IN ('blob', 'null') OR length(NEW.former_hash) <> 32)
      THEN RAISE(ABORT, 'clients.former_hash must be NULL or a blob of 32 bytes, a SHA-256')
    WHEN NEW.former_until IS NOT OLD.former_until AND (typeof(NEW.former_until) NOT IN ('integer', 'null') OR NEW.former_until NOT BETWEEN -62135596800000 AND 253402300799999)
      THEN RAISE(ABORT, 'clients.former_until must be a whole number, Unix time in milliseconds, for example unixepoch(''now'', ''+1 hour'') * 1000')
    WHEN NEW.jwks IS NOT OLD.jwks AND (typeof(NEW.jwks) NOT IN ('text', 'null') OR CASE WHEN json_valid(NEW.jwks) THEN json_type(NEW.jwks) <> 'object' ELSE NEW.jwks IS NOT NULL END)
      THEN RAISE(ABORT, 'clients.jwks must be NULL or a JSON object with the keys; `bulla client change NAME --jwks FILE` checks and sets them')
    WHEN NEW.scopes IS NOT OLD.scopes AND (typeof(NEW.scopes) NOT IN ('text', 'null') OR CASE WHEN json_valid(NEW.scopes) THEN json_type(NEW.scopes) <> 'array'
      OR EXISTS (SELECT 1 FROM json_each(NEW.scopes) WHERE type <> 'text' OR length(value) NOT BETWEEN 1 AND 64 OR value GLOB '*[^!#-~]*' OR instr(value, '\')) ELSE NEW.scopes IS NOT NULL END
    OR CASE WHEN json_valid(NEW.scopes) THEN json_array_length(NEW.scopes) > 16 END)
      THEN RAISE(ABORT, 'clients.scopes must be a JSON array of strings, for example ''["read","write"]'': at most 16 words of at most 64 characters')
    WHEN NEW.audiences IS NOT OLD.audiences AND (typeof(NEW.audiences) NOT IN ('text', 'null') OR CASE WHEN json_valid(NEW.audiences) THEN json_type(NEW.audiences) <> 'array'
      OR EXISTS (SELECT 1 FROM json_each(NEW.audiences) WHERE type <> 'text' OR length(value) > 64 OR value GLOB '*[^a-z0-9.-]*' OR value GLOB '[.-]*') ELSE NEW.audiences IS NOT NULL END)
      THEN RAISE(ABORT, 'clients.audiences must be a JSON array of strings, for example ''["billing"]'': lower-case letters, digits, dots and hyphens')
    WHEN NEW.redirect_uris IS NOT OLD.redirect_uris AND (typeof(NEW.redirect_uris) NOT IN ('text', 'null') OR CASE WHEN json_valid(NEW.redirect_uris) THEN json_type(NEW.redirect_uris) <> 'array'
      OR EXISTS (SELECT 1 FROM json_each(NEW.redirect_uris) WHERE type <> 'text') ELSE NEW.redirect_uris IS NOT NULL END)
      THEN RAISE(ABORT, 'clients.redirect_uris must be a JSON array of strings, for example ''["https://app.example/back"]''')
    WHEN NEW.created_at IS NOT OLD.created_at AND (typeof(NEW.created_at) NOT IN ('integer', 'null') OR NEW.created_at NOT BETWEEN -62135596800000 AND 253402300799999)
      THEN RAISE(ABORT, 'clients.created_at must be a whole number, Unix time in milliseconds, for example unixepoch(''now'', ''+1 hour'') * 1000')
  END;
END;

CREATE TRIGGER identity_unreadable BEFORE INSERT ON identities
BEGIN
  SELECT CASE
    WHEN typeof(NEW.issuer) NOT IN ('text', 'null')
      THEN RAISE(ABORT, 'identities.issuer must be a text: the issuer of the provider')
    WHEN typeof(NEW.subject) NOT IN ('text', 'null')
      THEN RAISE(ABORT, 'identities.subject must be a text: the name that the provider gives the person')
    WHEN typeof(NEW.user_id) NOT IN ('text', 'null') OR length(CAST(NEW.user_id AS BLOB)) NOT BETWEEN 1 AND 255
      THEN RAISE(ABORT, 'identities.user_id must be a text of 1 to 255 bytes: users.id as text')
  END;
END;

CREATE TRIGGER identity_made_unreadable BEFORE UPDATE OF issuer, subject, user_id ON identities
BEGIN
  SELECT CASE
    WHEN NEW.issuer IS NOT OLD.issuer AND (typeof(NEW.issuer) NOT IN ('text', 'null'))
      THEN RAISE(ABORT, 'identities.issuer must be a text: the issuer of the provider')
    WHEN NEW.subject IS NOT OLD.subject AND (typeof(NEW.subject) NOT IN ('text', 'null'))
      THEN RAISE(ABORT, 'identities.subject must be a text: the name that the provider gives the person')
    WHEN NEW.user_id IS NOT OLD.user_id AND (typeof(NEW.user_id) NOT IN ('text', 'null') OR length(CAST(NEW.user_id AS BLOB)) NOT BETWEEN 1 AND 255)
      THEN RAISE(ABORT, 'identities.user_id must be a text of 1 to 255 bytes: users.id as text')
  END;
END;

CREATE TRIGGER revocation_unreadable BEFORE INSERT ON revocations
BEGIN
  SELECT CASE
    WHEN typeof(NEW.target) NOT IN ('text', 'null')
      THEN RAISE(ABORT, 'revocations.target must be a text: a session''s sid, or client:ID')
    WHEN typeof(NEW.revoked_at) NOT IN ('integer', 'null') OR NEW.revoked_at NOT BETWEEN -62135596800000 AND 253402300799999
      THEN RAISE(ABORT, 'revocations.revoked_at must be a whole number, Unix time in milliseconds, for example unixepoch(''now'', ''+1 hour'') * 1000')
    WHEN typeof(NEW.expires_at) NOT IN ('integer', 'null') OR NEW.expires_at NOT BETWEEN -62135596800000 AND 253402300799999
      THEN RAISE(ABORT, 'revocations.expires_at must be a whole number, Unix time in milliseconds, for example unixepoch(''now'', ''+1 hour'') * 1000')
    WHEN NEW.at_end NOT IN (0, 1)
      THEN RAISE(ABORT, 'revocations.at_end must be 0 or 1')
  END;
END;

CREATE TRIGGER revocation_made_unreadable BEFORE UPDATE OF target, revoked_at, expires_at, at_end ON revocations
BEGIN
  SELECT CASE
    WHEN NEW.target IS NOT OLD.target AND (typeof(NEW.target) NOT IN ('text', 'null'))
      THEN RAISE(ABORT, 'revocations.target must be a text: a session''s sid, or client:ID')
    WHEN NEW.revoked_at IS NOT OLD.revoked_at AND (typeof(NEW.revoked_at) NOT IN ('integer', 'null') OR NEW.revoked_at NOT BETWEEN -62135596800000 AND 253402300799999)
      THEN RAISE(ABORT, 'revocations.revoked_at must be a whole number, Unix time in milliseconds, for example unixepoch(''now'', ''+1 hour'') * 1000')
    WHEN NEW.expires_at IS NOT OLD.expires_at AND (typeof(NEW.expires_at) NOT IN ('integer', 'null') OR NEW.expires_at NOT BETWEEN -62135596800000 AND 253402300799999)
      THEN RAISE(ABORT, 'revocations.expires_at must be a whole number, Unix time in milliseconds, for example unixepoch(''now'', ''+1 hour'') * 1000')
    WHEN NEW.at_end IS NOT OLD.at_end AND (NEW.at_end NOT IN (0, 1))
      THEN RAISE(ABORT, 'revocations.at_end must be 0 or 1')
  END;
END;

CREATE TRIGGER used_unreadable BEFORE INSERT ON used
BEGIN
  SELECT CASE
    WHEN typeof(NEW.expires_at) NOT IN ('integer', 'null') OR NEW.expires_at NOT BETWEEN -62135596800000 AND 253402300799999
      THEN RAISE(ABORT, 'used.expires_at must be a whole number, Unix time in milliseconds, for example unixepoch(''now'', ''+1 hour'') * 1000')
  END;
END;

CREATE TRIGGER used_made_unreadable BEFORE UPDATE OF expires_at ON used
BEGIN
  SELECT CASE
    WHEN NEW.expires_at IS NOT OLD.expires_at AND (typeof(NEW.expires_at) NOT IN ('integer', 'null') OR NEW.expires_at NOT BETWEEN -62135596800000 AND 253402300799999)
      THEN RAISE(ABORT, 'used.expires_at must be a whole number, Unix time in milliseconds, for example unixepoch(''now'', ''+1 hour'') * 1000')
  END;
END;

CREATE TRIGGER audit_unreadable BEFORE INSERT ON audit
BEGIN
  SELECT CASE
    WHEN typeof(NEW.at) NOT IN ('integer', 'null') OR NEW.at NOT BETWEEN -62135596800000 AND 253402300799999
      THEN RAISE(ABORT, 'audit.at must be a whole number, Unix time in milliseconds, for example unixepoch(''now'', ''+1 hour'') * 1000')
    WHEN typeof(NEW.event) NOT IN ('text', 'null')
      THEN RAISE(ABORT, 'audit.event must be a text')
    WHEN typeof(NEW.actor) NOT IN ('text', 'null')
      THEN RAISE(ABORT, 'audit.actor must be a text')
    WHEN typeof(NEW.subject) NOT IN ('text', 'null')
      THEN RAISE(ABORT, 'audit.subject must be a text')
    WHEN typeof(NEW.detail) NOT IN ('text', 'null')
      THEN RAISE(ABORT, 'audit.detail must be a text: a JSON object')
  END;
END;

CREATE TRIGGER audit_made_unreadable BEFORE UPDATE OF at, event, actor, subject, detail ON audit
BEGIN
  SELECT CASE
    WHEN NEW.at IS NOT OLD.at AND (typeof(NEW.at) NOT IN ('integer', 'null') OR NEW.at NOT BETWEEN -62135596800000 AND 253402300799999)
      THEN RAISE(ABORT, 'audit.at must be a whole number, Unix time in milliseconds, for example unixepoch(''now'', ''+1 hour'') * 1000')
    WHEN NEW.event IS NOT OLD.event AND (typeof(NEW.event) NOT IN ('text', 'null'))
      THEN RAISE(ABORT, 'audit.event must be a text')
    WHEN NEW.actor IS NOT OLD.actor AND (typeof(NEW.actor) NOT IN ('text', 'null'))
      THEN RAISE(ABORT, 'audit.actor must be a text')
    WHEN NEW.subject IS NOT OLD.subject AND (typeof(NEW.subject) NOT IN ('text', 'null'))
      THEN RAISE(ABORT, 'audit.subject must be a text')
    WHEN NEW.detail IS NOT OLD.detail AND (typeof(NEW.detail) NOT IN ('text', 'null'))
      THEN RAISE(ABORT, 'audit.detail must be a text: a JSON object')
  END;
END;

CREATE TRIGGER node_unreadable BEFORE INSERT ON nodes
BEGIN
  SELECT CASE
    WHEN typeof(NEW.name) NOT IN ('text', 'null')
      THEN RAISE(ABORT, 'nodes.name must be a text')
    WHEN typeof(NEW.ring_generation) NOT IN ('integer', 'null') OR NEW.ring_generation NOT BETWEEN 0 AND 9007199254740992
      THEN RAISE(ABORT, 'nodes.ring_generation must be a whole number from 0 to 2^53')
    WHEN typeof(NEW.version) NOT IN ('text', 'null')
      THEN RAISE(ABORT, 'nodes.version must be a text')
    WHEN typeof(NEW.seen_at) NOT IN ('integer', 'null') OR NEW.seen_at NOT BETWEEN -62135596800000 AND 253402300799999
      THEN RAISE(ABORT, 'nodes.seen_at must be a whole number, Unix time in milliseconds, for example unixepoch(''now'', ''+1 hour'') * 1000')
  END;
END;

CREATE TRIGGER node_made_unreadable BEFORE UPDATE OF name, ring_generation, version, seen_at ON nodes
BEGIN
  SELECT CASE
    WHEN NEW.name IS NOT OLD.name AND (typeof(NEW.name) NOT IN ('text', 'null'))
      THEN RAISE(ABORT, 'nodes.name must be a text')
    WHEN NEW.ring_generation IS NOT OLD.ring_generation AND (typeof(NEW.ring_generation) NOT IN ('integer', 'null') OR NEW.ring_generation NOT BETWEEN 0 AND 9007199254740992)
      THEN RAISE(ABORT, 'nodes.ring_generation must be a whole number from 0 to 2^53')
    WHEN NEW.version IS NOT OLD.version AND (typeof(NEW.version) NOT IN ('text', 'null'))
      THEN RAISE(ABORT, 'nodes.version must be a text')
    WHEN NEW.seen_at IS NOT OLD.seen_at AND (typeof(NEW.seen_at) NOT IN ('integer', 'null') OR NEW.seen_at NOT BETWEEN -62135596800000 AND 253402300799999)
      THEN RAISE(ABORT, 'nodes.seen_at must be a whole number, Unix time in milliseconds, for example unixepoch(''now'', ''+1 hour'') * 1000')
  END;
END;

CREATE TRIGGER ring_unreadable BEFORE INSERT ON ring
BEGIN
  SELECT CASE
    WHEN typeof(NEW.generation) NOT IN ('integer', 'null') OR NEW.generation NOT BETWEEN 0 AND 9007199254740992
      THEN RAISE(ABORT, 'ring.generation must be a whole number from 0 to 2^53')
    WHEN typeof(NEW.fingerprint) NOT IN ('blob', 'null') OR length(NEW.fingerprint) <> 32
      THEN RAISE(ABORT, 'ring.fingerprint must be a blob of 32 bytes, a SHA-256')
  END;
END;

CREATE TRIGGER ring_made_unreadable BEFORE UPDATE OF generation, fingerprint ON ring
BEGIN
  SELECT CASE
    WHEN NEW.generation IS NOT OLD.generation AND (typeof(NEW.generation) NOT IN ('integer', 'null') OR NEW.generation NOT BETWEEN 0 AND 9007199254740992)
      THEN RAISE(ABORT, 'ring.generation must be a whole number from 0 to 2^53')
    WHEN NEW.fingerprint IS NOT OLD.fingerprint AND (typeof(NEW.fingerprint) NOT IN ('blob', 'null') OR length(NEW.fingerprint) <> 32)
      THEN RAISE(ABORT, 'ring.fingerprint must be a blob of 32 bytes, a SHA-256')
  END;
END;
