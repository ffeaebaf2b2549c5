SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

-- Its name and columns stay, like those of user_profiles.
CREATE VIEW user_groups AS
SELECT m.user_id,
       g.name AS group_name
  FROM group_members m
  JOIN groups g ON g.id = m.group_id;

COMMENT ON VIEW user_groups IS 'Which users belong to which groups, for a website.';
COMMENT ON COLUMN user_groups.user_id IS 'users.id.';
COMMENT ON COLUMN user_groups.group_name IS 'groups.name.';
