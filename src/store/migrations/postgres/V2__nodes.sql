-- The servers that share this database: each says every few seconds which key ring it has in force.
CREATE TABLE nodes (
  name            text   PRIMARY KEY,
  ring_generation bigint NOT NULL,
  version         text   NOT NULL,
  seen_at         bigint NOT NULL
);
