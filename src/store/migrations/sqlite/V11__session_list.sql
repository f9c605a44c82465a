-- A page of the list of all sessions, newest first, reads only its own rows.
CREATE INDEX sessions_begun ON sessions (created_at, sid);
