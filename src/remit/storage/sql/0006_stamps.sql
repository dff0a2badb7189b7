-- What an untrusted session wrote: a hash of type and id, for whom it worked, and under which root.
CREATE TABLE stamp (
    org   TEXT NOT NULL,
    whose TEXT NOT NULL,
    mark  TEXT NOT NULL,
    root  TEXT NOT NULL,
    PRIMARY KEY (org, whose, mark, root)
) STRICT, WITHOUT ROWID;
