-- Version 2. An operator's leave for another EK or AK, and the device identity beside the EK. Rules: docs/REGISTRAR.md.
ALTER TABLE agents ADD COLUMN allow_until_ms INTEGER NOT NULL DEFAULT 0; -- 0: another EK or AK is refused
ALTER TABLE agents ADD COLUMN iak_certs BLOB;
ALTER TABLE agents ADD COLUMN idevid_certs BLOB;
ALTER TABLE agents ADD COLUMN device_serial TEXT;
ALTER TABLE pending ADD COLUMN iak_certs BLOB;
ALTER TABLE pending ADD COLUMN idevid_certs BLOB;
ALTER TABLE pending ADD COLUMN device_serial TEXT;
