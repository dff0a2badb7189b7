-- One row per org: the registry's epoch, and the log's sequencer.
CREATE TABLE org (
    org        TEXT PRIMARY KEY,
    epoch      INTEGER NOT NULL DEFAULT 0,
    next_index INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- The registry: people, agents, servers, definitions, tools, reviews, grants, keys, policy revisions.
-- Rows are never deleted, so a name once used stays taken.
CREATE TABLE noun (
    org  TEXT NOT NULL,
    kind TEXT NOT NULL,
    id   TEXT NOT NULL,
    name TEXT,
    body BLOB NOT NULL,
    PRIMARY KEY (org, kind, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX noun_name ON noun (org, kind, name) WHERE name IS NOT NULL;

CREATE TABLE session (
    org      TEXT NOT NULL,
    id       TEXT NOT NULL,
    root     TEXT NOT NULL,
    key      TEXT NOT NULL,
    state    TEXT NOT NULL,
    standing INTEGER NOT NULL,
    body     BLOB NOT NULL,
    PRIMARY KEY (org, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX session_root ON session (org, root);
CREATE INDEX session_active ON session (org, key) WHERE state = 'active';
CREATE UNIQUE INDEX session_standing ON session (org, key) WHERE standing = 1;

CREATE TABLE flow (
    org  TEXT NOT NULL,
    root TEXT NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (org, root)
) STRICT, WITHOUT ROWID;

CREATE TABLE call (
    org     TEXT NOT NULL,
    session TEXT NOT NULL,
    call_id TEXT NOT NULL,
    state   TEXT NOT NULL,
    body    BLOB NOT NULL,
    PRIMARY KEY (org, session, call_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX call_unfinished ON call (org, state) WHERE state IN ('open', 'unknown');

-- Which references a call with an intent may have written to: a waiting approval that shows one of them dies.
CREATE TABLE touched (
    org       TEXT NOT NULL,
    root      TEXT NOT NULL,
    reference TEXT NOT NULL,
    intent    INTEGER NOT NULL,
    PRIMARY KEY (org, root, reference, intent)
) STRICT, WITHOUT ROWID;

-- Ten-thousandths per limit. bucket 0 counts a whole session; other buckets are minutes of a rolling window.
CREATE TABLE counter (
    org      TEXT NOT NULL,
    scope    TEXT NOT NULL,
    name     TEXT NOT NULL,
    bucket   INTEGER NOT NULL,
    spent    INTEGER NOT NULL DEFAULT 0 CHECK (spent >= 0),
    reserved INTEGER NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    PRIMARY KEY (org, scope, name, bucket)
) STRICT, WITHOUT ROWID;

CREATE TABLE approval (
    org            TEXT NOT NULL,
    id             TEXT NOT NULL,
    state          TEXT NOT NULL,
    session        TEXT NOT NULL,
    root           TEXT NOT NULL,
    tool           TEXT NOT NULL,
    arguments_hash TEXT NOT NULL,
    body           BLOB NOT NULL,
    PRIMARY KEY (org, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX approval_about ON approval (org, session, tool, arguments_hash);
CREATE INDEX approval_waiting ON approval (org, root) WHERE state IN ('pending', 'approved');

-- The log: leaves as they were hashed, beside them what queries need.
CREATE TABLE leaf (
    org     TEXT NOT NULL,
    idx     INTEGER NOT NULL,
    kind    INTEGER NOT NULL,
    session TEXT,
    agent   TEXT,
    data    BLOB NOT NULL,
    PRIMARY KEY (org, idx)
) STRICT, WITHOUT ROWID;
CREATE INDEX leaf_session ON leaf (org, session, idx) WHERE session IS NOT NULL;
CREATE INDEX leaf_kind ON leaf (org, kind, idx);
CREATE TRIGGER leaf_stays BEFORE UPDATE ON leaf BEGIN SELECT raise(ABORT, 'the log only grows'); END;
-- INSERT OR REPLACE deletes without firing the trigger for deletion.
CREATE TRIGGER leaf_once BEFORE INSERT ON leaf
    WHEN EXISTS (SELECT 1 FROM leaf WHERE org = NEW.org AND idx = NEW.idx)
    BEGIN SELECT raise(ABORT, 'the log only grows'); END;
CREATE TRIGGER leaf_kept BEFORE DELETE ON leaf BEGIN SELECT raise(ABORT, 'the log only grows'); END;

-- Committed values, sealed under a key per subject.
CREATE TABLE private (
    org     TEXT NOT NULL,
    idx     INTEGER NOT NULL,
    pointer TEXT NOT NULL,
    subject TEXT NOT NULL,
    sealed  BLOB NOT NULL,
    PRIMARY KEY (org, idx, pointer)
) STRICT, WITHOUT ROWID;

CREATE TABLE tree_hash (
    org   TEXT NOT NULL,
    level INTEGER NOT NULL,
    idx   INTEGER NOT NULL,
    hash  BLOB NOT NULL,
    PRIMARY KEY (org, level, idx)
) STRICT, WITHOUT ROWID;

CREATE TABLE checkpoint (
    org  TEXT NOT NULL,
    size INTEGER NOT NULL,
    note TEXT NOT NULL,
    PRIMARY KEY (org, size)
) STRICT, WITHOUT ROWID;

CREATE TABLE secret (
    org    TEXT NOT NULL,
    name   TEXT NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (org, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE key_use (
    org  TEXT NOT NULL,
    key  TEXT NOT NULL,
    used INTEGER NOT NULL,
    PRIMARY KEY (org, key)
) STRICT, WITHOUT ROWID;
