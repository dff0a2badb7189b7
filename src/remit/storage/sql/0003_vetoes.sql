-- A no holds for everything under one root session, so that is where it is looked for.
DROP INDEX approval_about;
CREATE INDEX approval_about ON approval (org, root, tool, arguments_hash);
