-- What was refused and a person could change: one open row for an agent, a tool and a rule, however often it is met.
CREATE TABLE access_request (
    org     TEXT NOT NULL,
    id      TEXT NOT NULL,
    agent   TEXT NOT NULL,
    tool    TEXT NOT NULL,
    code    TEXT NOT NULL,
    rule    TEXT NOT NULL,
    state   TEXT NOT NULL,
    expires INTEGER NOT NULL,
    body    BLOB NOT NULL,
    PRIMARY KEY (org, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX access_request_open ON access_request (org, agent, tool, code, rule) WHERE state = 'open';
CREATE INDEX access_request_lapsing ON access_request (org, expires) WHERE state = 'open';
