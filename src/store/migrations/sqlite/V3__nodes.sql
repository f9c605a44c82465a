-- The servers that share this database: each says every few seconds which key ring it has in force.
CREATE TABLE nodes (
  name            TEXT    PRIMARY KEY,
  ring_generation INTEGER NOT NULL,
  version         TEXT    NOT NULL,
  seen_at         INTEGER NOT NULL
) WITHOUT ROWID;
