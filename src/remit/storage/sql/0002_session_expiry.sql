-- So that sessions whose time is over are found without reading those that live.
ALTER TABLE session ADD COLUMN expires INTEGER NOT NULL DEFAULT 0;
UPDATE session SET expires = json_extract(CAST(body AS TEXT), '$.expires');
CREATE INDEX session_lapsing ON session (org, expires) WHERE state = 'active';
