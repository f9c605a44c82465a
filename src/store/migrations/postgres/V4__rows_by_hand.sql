-- Rows written by hand: a row that the program can't read is refused, an end set for the future is one then,
-- ON CONFLICT DO NOTHING changes nothing, and a client is public only if its row says so.

-- A client that proves nothing. Never the absence of a secret: a row typed in without one would be open to everybody.
ALTER TABLE clients ADD COLUMN public integer NOT NULL DEFAULT 0 CHECK (public IN (0, 1));
UPDATE clients SET public = 1 WHERE secret_hash IS NULL AND jwks IS NULL;

-- 1: takes effect at `revoked_at` if the session has ended then. A session that is renewed or extended before lives on.
ALTER TABLE revocations ADD COLUMN at_end integer NOT NULL DEFAULT 0 CHECK (at_end IN (0, 1));
CREATE INDEX revocations_at_end ON revocations (revoked_at) WHERE at_end = 1;

-- What the sweep knows of the clock: one row. `seen` is when a server last looked. After a leap `before` is the last time
-- that was trusted and `since` the first of the new time.
CREATE TABLE clock (
  one    integer PRIMARY KEY CHECK (one = 1),
  seen   bigint  NOT NULL,
  before bigint,
  since  bigint
);

-- Where triggers of SQLite note what a REPLACE would delete. Here there is no REPLACE, and it stays empty: the tables of both
-- schemas are the same.
CREATE TABLE replaced (
  what text NOT NULL,
  key  text NOT NULL
);

-- An INSERT over a row that is there fails, does nothing, or is an UPDATE: the triggers of UPDATE see to that one.
DROP TRIGGER session_inserted_over ON sessions;
DROP FUNCTION bulla_session_inserted_over();
DROP TRIGGER client_inserted_over ON clients;
DROP FUNCTION bulla_client_inserted_over();

-- Ended at once: another name or user, or an end set into the past. Ended later: an end set for the future, so that no
-- access token made before outlives it. Of a shorter idle time that is so only where an access token may live as long; a
-- renewal, which may shorten it by a new setting, moves `rotated_at`.
DROP TRIGGER session_changed ON sessions;
CREATE OR REPLACE FUNCTION bulla_session_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  now bigint := bulla_now();
  ends bigint := least(NEW.idle_expires_at, NEW.expires_at);
BEGIN
  IF least(OLD.idle_expires_at, OLD.expires_at) <= now - 1020000 THEN
    RETURN NULL;
  END IF;
  IF OLD.sid <> NEW.sid OR OLD.user_id <> NEW.user_id
    OR (NEW.expires_at < OLD.expires_at AND NEW.expires_at <= now)
    OR (NEW.idle_expires_at < OLD.idle_expires_at AND NEW.idle_expires_at <= now)
  THEN
    INSERT INTO revocations (target, revoked_at, expires_at) VALUES (OLD.sid, now, now + 1020000);
  ELSIF ends > now AND (NEW.expires_at < OLD.expires_at OR (NEW.idle_expires_at < OLD.idle_expires_at
    AND NEW.rotated_at = OLD.rotated_at AND NEW.idle_expires_at < now + 1020000))
  THEN
    DELETE FROM revocations WHERE at_end = 1 AND target = NEW.sid;
    INSERT INTO revocations (target, revoked_at, expires_at, at_end) VALUES (NEW.sid, ends, ends + 1020000, 1);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER session_changed AFTER UPDATE OF sid, user_id, expires_at, idle_expires_at ON sessions FOR EACH ROW
  WHEN (OLD.sid <> NEW.sid OR OLD.user_id <> NEW.user_id OR NEW.expires_at < OLD.expires_at
    OR NEW.idle_expires_at < OLD.idle_expires_at)
  EXECUTE FUNCTION bulla_session_changed();

-- A session that has ended stays ended: its revocation is kept for 17 minutes only. A renewal that was judged before the
-- end may be written just after it.
CREATE FUNCTION bulla_session_revived() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  IF least(OLD.idle_expires_at, OLD.expires_at) <= bulla_now()
    AND NOT (NEW.rotated_at > OLD.rotated_at AND NEW.rotated_at < least(OLD.idle_expires_at, OLD.expires_at))
  THEN
    RAISE EXCEPTION 'this session has ended and can''t be made to live again: leave expires_at and idle_expires_at as they are; the user logs in anew'
      USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER session_revived BEFORE UPDATE OF expires_at, idle_expires_at ON sessions FOR EACH ROW
  WHEN (least(NEW.idle_expires_at, NEW.expires_at) > least(OLD.idle_expires_at, OLD.expires_at)
    AND least(OLD.idle_expires_at, OLD.expires_at) <= bulla_now())
  EXECUTE FUNCTION bulla_session_revived();

-- A name typed in by hand: as near to the program's folding as SQL comes. An id typed in by hand is not given out again.
CREATE OR REPLACE FUNCTION bulla_user_inserted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  NEW.folded := coalesce(NEW.folded, lower(NEW.name));
  PERFORM setval(pg_get_serial_sequence('users', 'id'), NEW.id) FROM users_id_seq
    WHERE last_value < NEW.id OR last_value = NEW.id AND NOT is_called;
  RETURN NEW;
END $$;

-- A user under another name is somebody else.
CREATE FUNCTION bulla_user_renamed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  IF NEW.name <> OLD.name THEN
    DELETE FROM sessions WHERE user_id = OLD.id::text;
    IF NEW.folded IS NOT DISTINCT FROM OLD.folded THEN
      NEW.folded := lower(NEW.name);
    END IF;
  END IF;
  NEW.folded := coalesce(NEW.folded, lower(NEW.name));
  RETURN NEW;
END $$;
CREATE TRIGGER user_renamed BEFORE UPDATE OF name, folded ON users FOR EACH ROW EXECUTE FUNCTION bulla_user_renamed();

-- As before, and whoever may come in without a proof.
CREATE OR REPLACE FUNCTION bulla_client_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  now bigint := bulla_now();
  successor boolean := OLD.secret_hash IS NOT NULL AND OLD.secret_hash IS NOT DISTINCT FROM NEW.former_hash
    AND coalesce(NEW.former_until, 0) > now;
  kept boolean := OLD.former_hash IS NOT DISTINCT FROM NEW.secret_hash
    OR (OLD.former_hash IS NOT DISTINCT FROM NEW.former_hash AND coalesce(NEW.former_until, 0) >= OLD.former_until);
BEGIN
  IF OLD.id <> NEW.id OR OLD.scopes <> NEW.scopes OR OLD.audiences <> NEW.audiences
    OR OLD.jwks IS DISTINCT FROM NEW.jwks OR (NEW.disabled <> 0 AND OLD.disabled = 0) OR OLD.public <> NEW.public
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

-- A sum with the largest bigint is an error, and would keep a row with such a time from being deleted.
CREATE OR REPLACE FUNCTION bulla_session_deleted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE now bigint := bulla_now();
BEGIN
  INSERT INTO revocations (target, revoked_at, expires_at)
  SELECT sid, now, now + 1020000 FROM gone WHERE least(idle_expires_at, expires_at) > now - 1020000;
  RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION bulla_sessions_truncated() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE now bigint := bulla_now();
BEGIN
  PERFORM bulla_may_truncate();
  INSERT INTO revocations (target, revoked_at, expires_at)
  SELECT sid, now, now + 1020000 FROM sessions WHERE least(idle_expires_at, expires_at) > now - 1020000;
  RETURN NULL;
END $$;

-- Whether a text is a JSON array of strings that match a pattern.
CREATE FUNCTION bulla_words(list text, pattern text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog AS $$
BEGIN
  RETURN json_typeof(list::json) = 'array' AND NOT EXISTS (
    SELECT FROM json_array_elements(list::json) AS word (value)
    WHERE json_typeof(value) <> 'string' OR (value #>> '{}') !~ pattern);
EXCEPTION WHEN others THEN
  RETURN false;
END $$;

-- Whether a text is a JSON object.
CREATE FUNCTION bulla_object(value text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog AS $$
BEGIN
  RETURN json_typeof(value::json) = 'object';
EXCEPTION WHEN others THEN
  RETURN false;
END $$;

-- One row that can't be read would keep its owner out. NOT VALID: a row that was bad before stays until it is mended or
-- deleted; `bulla doctor` names it.
ALTER TABLE sessions
  ADD CONSTRAINT "sid must be 22 characters of base64url" CHECK (sid ~ '^[A-Za-z0-9_-]{21}[AQgw]$') NOT VALID,
  ADD CONSTRAINT "user_id must be users.id as text, 1 to 255 bytes" CHECK (octet_length(user_id) BETWEEN 1 AND 255) NOT VALID,
  ADD CONSTRAINT "secret_hash must be 32 bytes, a SHA-256" CHECK (length(secret_hash) = 32) NOT VALID,
  ADD CONSTRAINT "generation and pardoned_gen must be from 0 to 2^53" CHECK (generation BETWEEN 0 AND 9007199254740992
    AND coalesce(pardoned_gen, 0) BETWEEN 0 AND 9007199254740992) NOT VALID,
  ADD CONSTRAINT "times must be Unix milliseconds, as bulla_now() + 3600000" CHECK (
    rotated_at BETWEEN -62135596800000 AND 253402300799999
    AND coalesce(pardoned_at, 0) BETWEEN -62135596800000 AND 253402300799999
    AND created_at BETWEEN -62135596800000 AND 253402300799999
    AND idle_expires_at BETWEEN -62135596800000 AND 253402300799999
    AND expires_at BETWEEN -62135596800000 AND 253402300799999) NOT VALID,
  ADD CONSTRAINT "transport must be cookie, body, hybrid or basic" CHECK (transport IN ('cookie', 'body', 'hybrid', 'basic')) NOT VALID,
  ADD CONSTRAINT "client_id must be NULL or clients.id" CHECK (client_id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$') NOT VALID,
  ADD CONSTRAINT "scope must be words with one blank between, as read write" CHECK (
    scope ~ '^([!#-\[\]-~]{1,64}( [!#-\[\]-~]{1,64}){0,15})?$') NOT VALID;

ALTER TABLE users
  ADD CONSTRAINT "id must be 1 or more; leave it out and it is given out" CHECK (id > 0) NOT VALID,
  ADD CONSTRAINT "name must not be empty" CHECK (name <> '') NOT VALID,
  ADD CONSTRAINT "roles must be a JSON array of strings, as [""admin""]" CHECK (bulla_words(roles, '')) NOT VALID,
  ADD CONSTRAINT "created_at must be Unix milliseconds, as bulla_now()" CHECK (
    created_at BETWEEN -62135596800000 AND 253402300799999) NOT VALID;

ALTER TABLE clients
  ADD CONSTRAINT "id must be letters, digits, dots, hyphens and underscores" CHECK (id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$') NOT VALID,
  ADD CONSTRAINT "name must not be empty" CHECK (name <> '') NOT VALID,
  ADD CONSTRAINT "secret_hash must be NULL or 32 bytes, a SHA-256" CHECK (length(secret_hash) = 32) NOT VALID,
  ADD CONSTRAINT "former_hash must be NULL or 32 bytes, a SHA-256" CHECK (length(former_hash) = 32) NOT VALID,
  ADD CONSTRAINT "jwks must be NULL or a JSON object with the keys" CHECK (jwks IS NULL OR bulla_object(jwks)) NOT VALID,
  ADD CONSTRAINT "scopes must be a JSON array of strings, as [""read""]" CHECK (
    bulla_words(scopes, '^[!#-\[\]-~]{1,64}$') AND json_array_length(scopes::json) <= 16) NOT VALID,
  ADD CONSTRAINT "audiences must be a JSON array of strings, as [""billing""]" CHECK (
    bulla_words(audiences, '^([a-z0-9][a-z0-9.-]{0,63})?$')) NOT VALID,
  ADD CONSTRAINT "redirect_uris must be a JSON array of strings" CHECK (bulla_words(redirect_uris, '')) NOT VALID,
  ADD CONSTRAINT "times must be Unix milliseconds, as bulla_now() + 3600000" CHECK (
    created_at BETWEEN -62135596800000 AND 253402300799999
    AND coalesce(former_until, 0) BETWEEN -62135596800000 AND 253402300799999) NOT VALID,
  ADD CONSTRAINT "a public client has no secret and no keys" CHECK (
    public = 0 OR (secret_hash IS NULL AND former_hash IS NULL AND jwks IS NULL)) NOT VALID;

ALTER TABLE identities
  ADD CONSTRAINT "user_id must be users.id as text, 1 to 255 bytes" CHECK (octet_length(user_id) BETWEEN 1 AND 255) NOT VALID;

ALTER TABLE revocations
  ADD CONSTRAINT "times must be Unix milliseconds, as bulla_now() + 3600000" CHECK (
    revoked_at BETWEEN -62135596800000 AND 253402300799999
    AND expires_at BETWEEN -62135596800000 AND 253402300799999) NOT VALID;

ALTER TABLE nodes
  ADD CONSTRAINT "ring_generation must be from 0 to 2^53" CHECK (ring_generation BETWEEN 0 AND 9007199254740992) NOT VALID;

ALTER TABLE ring
  ADD CONSTRAINT "generation must be from 0 to 2^53" CHECK (generation BETWEEN 0 AND 9007199254740992) NOT VALID,
  ADD CONSTRAINT "fingerprint must be 32 bytes, a SHA-256" CHECK (length(fingerprint) = 32) NOT VALID;

-- The functions of triggers act with their owner's rights, on the tables of this schema whatever the caller's search path.
DO $$
DECLARE f regprocedure;
BEGIN
  FOR f IN
    SELECT p.oid FROM pg_proc p JOIN pg_type t ON t.oid = p.prorettype
    WHERE p.pronamespace = current_schema()::regnamespace AND p.proname LIKE 'bulla\_%' AND t.typname = 'trigger'
  LOOP
    EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', f, current_schema());
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
  END LOOP;
END $$;
