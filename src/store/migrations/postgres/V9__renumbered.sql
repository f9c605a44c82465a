-- The identities of a user go along with another number. They stayed with the old one, for whoever might get that next.
-- Before the row is changed: of several rows, the one that makes room comes first, and triggers after them would come too late.
CREATE FUNCTION bulla_identities_renumbered() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  -- Of no user: else the number were taken, and the statement refused.
  DELETE FROM identities WHERE user_id = NEW.id::text;
  UPDATE identities SET user_id = NEW.id::text WHERE user_id = OLD.id::text;
  RETURN NEW;
END $$;
CREATE TRIGGER identities_renumbered BEFORE UPDATE OF id ON users FOR EACH ROW
  WHEN (OLD.id <> NEW.id) EXECUTE FUNCTION bulla_identities_renumbered();

-- The function of a trigger acts with its owner's rights, on the tables of this schema whatever the caller's search path.
DO $$
BEGIN
  EXECUTE format('ALTER FUNCTION bulla_identities_renumbered() SET search_path = %I, pg_temp', current_schema());
  REVOKE EXECUTE ON FUNCTION bulla_identities_renumbered() FROM PUBLIC;
END $$;
