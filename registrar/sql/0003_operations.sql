-- Version 3. Age of the outbox; listing and counting without reading whole rows. Rules: docs/REGISTRAR.md.
ALTER TABLE outbox ADD COLUMN added_ms INTEGER NOT NULL DEFAULT 0; -- 0: before this version
CREATE INDEX agents_status ON agents (status, id);
