-- A page of the list of all sessions, newest first, reads only its own rows. A rotation changes neither column, so it still touches
-- one page (HOT).
CREATE INDEX sessions_begun ON sessions (created_at, sid);
