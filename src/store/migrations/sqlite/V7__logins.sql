-- The addresses that a user has logged in from: whoever attacks the user from elsewhere does not keep them out there.
CREATE INDEX audit_logins ON audit (actor, at) WHERE event = 'login';
