-- Version 1. Times are milliseconds since 1970, UTC. Rules: docs/REGISTRAR.md, "Storage".
CREATE TABLE meta (
    name  TEXT PRIMARY KEY NOT NULL,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- One row per agent that ever proved itself. A removed one stays, so that its generation never runs backwards.
CREATE TABLE agents (
    id              TEXT PRIMARY KEY NOT NULL,
    status          INTEGER NOT NULL CHECK (status IN (1, 2)), -- 1 active, 2 removed
    generation      INTEGER NOT NULL CHECK (generation > 0),
    regcount        INTEGER NOT NULL,
    registered_ms   INTEGER NOT NULL,
    tag_until_ms    INTEGER NOT NULL,
    tag_sha256      BLOB NOT NULL CHECK (length(tag_sha256) = 32),
    ek_public       BLOB NOT NULL,
    ak_public       BLOB NOT NULL,
    ak_name         BLOB NOT NULL,
    ek_certs        BLOB,
    ip              TEXT,
    port            INTEGER,
    mtls_cert       TEXT,
    trust_rule      TEXT NOT NULL,
    trust_trusted   INTEGER NOT NULL CHECK (trust_trusted IN (0, 1)),
    trust_ms        INTEGER NOT NULL,
    trust_detail    TEXT NOT NULL,
    ek_cert_sha256  BLOB CHECK (ek_cert_sha256 IS NULL OR length(ek_cert_sha256) = 32)
) STRICT;

-- Open challenges. They never touch the agent's row; an expired one is deleted.
CREATE TABLE pending (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,
    id              TEXT NOT NULL,
    digest          BLOB NOT NULL CHECK (length(digest) = 32),
    source          TEXT NOT NULL,
    secret          BLOB NOT NULL CHECK (length(secret) = 32),
    issued_ms       INTEGER NOT NULL,
    expires_ms      INTEGER NOT NULL,
    attempts        INTEGER NOT NULL,
    ek_public       BLOB NOT NULL,
    ak_public       BLOB NOT NULL,
    ak_name         BLOB NOT NULL,
    ek_certs        BLOB,
    ip              TEXT,
    port            INTEGER,
    mtls_cert       TEXT,
    trust_rule      TEXT NOT NULL,
    trust_trusted   INTEGER NOT NULL CHECK (trust_trusted IN (0, 1)),
    trust_ms        INTEGER NOT NULL,
    trust_detail    TEXT NOT NULL,
    ek_cert_sha256  BLOB CHECK (ek_cert_sha256 IS NULL OR length(ek_cert_sha256) = 32)
) STRICT;
CREATE INDEX pending_id ON pending (id);
CREATE INDEX pending_source ON pending (source, expires_ms);
CREATE INDEX pending_expires ON pending (expires_ms);

-- What is still to be published, in order. Written in the transaction that changes the agent's row.
CREATE TABLE outbox (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL,
    generation INTEGER NOT NULL
) STRICT;
