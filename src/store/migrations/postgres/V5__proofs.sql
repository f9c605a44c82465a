-- When the person of a session last proved who they are: what changes a way in asks for a recent proof.
-- None: not known to be recent. A session of an earlier version may have begun by a provider's word, so none is known.
ALTER TABLE sessions ADD COLUMN auth_time bigint;

-- When an identity was linked: a changed password names those that are new. None: not known.
ALTER TABLE identities ADD COLUMN linked_at bigint;

-- By the audit: the last link of that user is never earlier than the link of each of their identities.
UPDATE identities SET linked_at =
  (SELECT max(at) FROM audit WHERE event = 'identity.linked' AND subject = identities.user_id)
  WHERE user_id <> '';
