SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

CREATE TABLE group_members (
    group_id uuid        NOT NULL,
    user_id  uuid        NOT NULL,
    added_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT group_members_pkey PRIMARY KEY (group_id, user_id),
    CONSTRAINT group_members_group_id_fkey FOREIGN KEY (group_id) REFERENCES groups (id) ON DELETE CASCADE,
    CONSTRAINT group_members_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
);

CREATE INDEX group_members_user_id_idx ON group_members (user_id);

-- The groups of a user are cached with each session. At most 100 stripes of users; otherwise everything. A member whose
-- user was deleted in the same transaction is announced by users_announce(). The users are read one by one: a plan for
-- many rows would read the whole table for one.
CREATE FUNCTION group_members_announce() RETURNS trigger
LANGUAGE plpgsql AS
$$
DECLARE
    changed text;
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT string_agg(stripe || ',', '')
          INTO changed
          FROM (SELECT DISTINCT right(n.user_id::text, 4) AS stripe FROM new_rows n LIMIT 101) AS added;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT string_agg(stripe || ',', '')
          INTO changed
          FROM (SELECT DISTINCT right(o.user_id::text, 4) AS stripe
                  FROM old_rows o
                  JOIN LATERAL (SELECT FROM users u WHERE u.id = o.user_id LIMIT 1) AS kept ON true
                 LIMIT 101) AS removed;
    ELSE
        SELECT string_agg(stripe || ',', '')
          INTO changed
          FROM (SELECT DISTINCT right(user_id::text, 4) AS stripe
                  FROM (SELECT user_id FROM old_rows UNION ALL SELECT user_id FROM new_rows) AS both_rows
                 LIMIT 101) AS moved;
    END IF;
    IF changed IS NULL THEN
        RETURN NULL;
    END IF;
    EXECUTE format('SELECT %I.announce_change($1, $2)', TG_TABLE_SCHEMA)
      USING TG_TABLE_SCHEMA,
            CASE WHEN length(changed) <= 500 THEN 'users:' || rtrim(changed, ',') ELSE 'all' END;
    RETURN NULL;
END
$$;

-- A new name: sessions are cached with the names of groups.
CREATE FUNCTION groups_announce() RETURNS trigger
LANGUAGE plpgsql AS
$$
DECLARE
    changed text;
BEGIN
    SELECT string_agg(stripe || ',', '')
      INTO changed
      FROM (SELECT DISTINCT right(m.user_id::text, 4) AS stripe
              FROM old_rows o
              JOIN group_members m ON m.group_id = o.id
             WHERE NOT EXISTS (SELECT FROM new_rows n WHERE n.id = o.id AND n.name = o.name)
             LIMIT 101) AS renamed;
    IF changed IS NULL THEN
        RETURN NULL;
    END IF;
    EXECUTE format('SELECT %I.announce_change($1, $2)', TG_TABLE_SCHEMA)
      USING TG_TABLE_SCHEMA,
            CASE WHEN length(changed) <= 500 THEN 'users:' || rtrim(changed, ',') ELSE 'all' END;
    RETURN NULL;
END
$$;

-- As in 20261130100001_function_search_path.
DO
$$
DECLARE
    function regprocedure;
    own      text := (SELECT n.nspname
                        FROM pg_class c
                        JOIN pg_namespace n ON n.oid = c.relnamespace
                       WHERE c.oid = 'group_members'::regclass);
BEGIN
    FOREACH function IN ARRAY ARRAY['group_members_announce()', 'groups_announce()'] LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', function, own);
    END LOOP;
END
$$;

-- The deletion of a group deletes its members, which announces them.
CREATE TRIGGER group_members_inserted AFTER INSERT ON group_members
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION group_members_announce();
CREATE TRIGGER group_members_deleted AFTER DELETE ON group_members
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION group_members_announce();
CREATE TRIGGER group_members_updated AFTER UPDATE ON group_members
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION group_members_announce();
CREATE TRIGGER group_members_truncated AFTER TRUNCATE ON group_members
    FOR EACH STATEMENT EXECUTE FUNCTION truncation_announce();
CREATE TRIGGER groups_updated AFTER UPDATE ON groups
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION groups_announce();

COMMENT ON TABLE group_members IS
    'Which users belong to which groups. A change takes effect immediately and ends no session.';
COMMENT ON COLUMN group_members.group_id IS 'groups.id.';
COMMENT ON COLUMN group_members.user_id IS 'users.id.';
COMMENT ON COLUMN group_members.added_at IS 'When the user was added.';
COMMENT ON INDEX group_members_pkey IS 'Lists the members of a group.';
COMMENT ON INDEX group_members_user_id_idx IS 'Finds the groups of a user; used by the foreign key.';
COMMENT ON FUNCTION group_members_announce() IS
    'Notifies the servers of users whose groups changed, so that they forget the cached sessions of these users.';
COMMENT ON FUNCTION groups_announce() IS
    'Notifies the servers of the members of groups that got a new name.';
