-- Times of the clock that no program can read. (Numbers of rows come from sequences here, and a primary key is never NULL.)
ALTER TABLE clock
  ADD CONSTRAINT "seen, before and since must be Unix milliseconds, as bulla_now()" CHECK (
    seen BETWEEN -62135596800000 AND 253402300799999
    AND coalesce(before, 0) BETWEEN -62135596800000 AND 253402300799999
    AND coalesce(since, 0) BETWEEN -62135596800000 AND 253402300799999) NOT VALID;

-- The sequence of ids goes on after an id typed in by hand: after the highest that there can be it has none left. It stays
-- set where a row is refused afterwards, so the row is refused before.
CREATE OR REPLACE FUNCTION bulla_user_inserted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  NEW.folded := coalesce(NEW.folded, lower(NEW.name));
  IF NEW.id > 8000000000000000000 AND NEW.id - 1000000000000 > (SELECT last_value FROM users_id_seq) THEN
    RAISE EXCEPTION 'users.id must be at most 8 * 10^18; leave it out and it is given out'
      USING ERRCODE = 'check_violation';
  END IF;
  PERFORM setval(pg_get_serial_sequence('users', 'id'), NEW.id) FROM users_id_seq
    WHERE last_value < NEW.id OR last_value = NEW.id AND NOT is_called;
  RETURN NEW;
END $$;

-- A function that is made again has no settings any more.
DO $$
BEGIN
  EXECUTE format('ALTER FUNCTION bulla_user_inserted() SET search_path = %I, pg_temp', current_schema());
END $$;
