-- What lives for minutes: authorization codes, pushed requests, refresh tokens, sign-ins, and what may be used once.
-- mark is a hash where the key is a secret, so that who reads the store holds nothing that opens anything.
CREATE TABLE ticket (
    org     TEXT NOT NULL,
    kind    TEXT NOT NULL,
    mark    TEXT NOT NULL,
    owner   TEXT NOT NULL,
    expires INTEGER NOT NULL,
    body    BLOB NOT NULL,
    PRIMARY KEY (org, kind, mark)
) STRICT, WITHOUT ROWID;
CREATE INDEX ticket_owner ON ticket (org, kind, owner);
CREATE INDEX ticket_expires ON ticket (org, expires);
