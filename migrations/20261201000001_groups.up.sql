SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

CREATE TABLE groups (
    id         uuid        NOT NULL,
    name       text        NOT NULL,
    title      text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT groups_pkey PRIMARY KEY (id),
    CONSTRAINT groups_name_key UNIQUE (name),
    CONSTRAINT groups_name_form CHECK (name ~ '^[a-z0-9-]{1,64}$'),
    CONSTRAINT groups_title_length CHECK (char_length(title) BETWEEN 1 AND 64)
);

COMMENT ON TABLE groups IS
    'Named sets of users, for the access rules of a site. The role of a user is not a group.';
COMMENT ON COLUMN groups.id IS 'UUID version 7.';
COMMENT ON COLUMN groups.name IS 'The name in commands and in the program of a site: lower-case letters, digits and hyphens.';
COMMENT ON COLUMN groups.title IS 'The name for people; null: none.';
COMMENT ON COLUMN groups.created_at IS 'When the group was created.';
COMMENT ON INDEX groups_pkey IS 'The groups of members.';
COMMENT ON INDEX groups_name_key IS 'One group for each name.';
