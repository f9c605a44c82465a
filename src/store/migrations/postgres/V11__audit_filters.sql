-- Filters of the audit log. The rows of each index come in the order of their times. The texts are cut, because an entry of an index
-- has a limited length and a long text must not make the INSERT fail.
CREATE INDEX audit_actors ON audit (left(actor, 255), at, seq);
CREATE INDEX audit_subjects ON audit (left(subject, 255), at, seq);
CREATE INDEX audit_events ON audit (left(event, 64), at, seq);
DROP INDEX audit_at;
CREATE INDEX audit_at ON audit (at, seq);
