-- Filters of the audit log. The rows of each index come in the order of their times. `event` is in the indexes of actors and
-- subjects, so that a search for one kind of event reads only the rows that match.
CREATE INDEX audit_actors ON audit (actor, at, seq, event);
CREATE INDEX audit_subjects ON audit (subject, at, seq, event);
CREATE INDEX audit_events ON audit (event, at, seq);
