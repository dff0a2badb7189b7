-- Tables that grow with every call keep their rows in the order in which they come: a long row that is written behind
-- the last one moves no other. In a table that is ordered by its key, each such row made its neighbours move up.
CREATE TABLE leaf_in_order (
    org     TEXT NOT NULL,
    idx     INTEGER NOT NULL,
    kind    INTEGER NOT NULL,
    session TEXT,
    agent   TEXT,
    data    BLOB NOT NULL,
    UNIQUE (org, idx)
) STRICT;
INSERT INTO leaf_in_order SELECT org, idx, kind, session, agent, data FROM leaf ORDER BY org, idx;
DROP TABLE leaf;
ALTER TABLE leaf_in_order RENAME TO leaf;
CREATE INDEX leaf_session ON leaf (org, session, idx) WHERE session IS NOT NULL;
CREATE INDEX leaf_kind ON leaf (org, kind, idx);
CREATE TRIGGER leaf_stays BEFORE UPDATE ON leaf BEGIN SELECT raise(ABORT, 'the log only grows'); END;
-- INSERT OR REPLACE deletes without firing the trigger for deletion.
CREATE TRIGGER leaf_once BEFORE INSERT ON leaf
    WHEN EXISTS (SELECT 1 FROM leaf WHERE org = NEW.org AND idx = NEW.idx)
    BEGIN SELECT raise(ABORT, 'the log only grows'); END;
CREATE TRIGGER leaf_kept BEFORE DELETE ON leaf BEGIN SELECT raise(ABORT, 'the log only grows'); END;

CREATE TABLE private_in_order (
    org     TEXT NOT NULL,
    idx     INTEGER NOT NULL,
    pointer TEXT NOT NULL,
    subject TEXT NOT NULL,
    sealed  BLOB NOT NULL,
    UNIQUE (org, idx, pointer)
) STRICT;
INSERT INTO private_in_order SELECT org, idx, pointer, subject, sealed FROM private ORDER BY org, idx, pointer;
DROP TABLE private;
ALTER TABLE private_in_order RENAME TO private;

CREATE TABLE call_in_order (
    org     TEXT NOT NULL,
    session TEXT NOT NULL,
    call_id TEXT NOT NULL,
    state   TEXT NOT NULL,
    body    BLOB NOT NULL,
    UNIQUE (org, session, call_id)
) STRICT;
INSERT INTO call_in_order SELECT org, session, call_id, state, body FROM call ORDER BY org, session, call_id;
DROP TABLE call;
ALTER TABLE call_in_order RENAME TO call;
CREATE INDEX call_unfinished ON call (org, state) WHERE state IN ('open', 'unknown');
