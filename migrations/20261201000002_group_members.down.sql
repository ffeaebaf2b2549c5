SET LOCAL lock_timeout = '3s';

DROP TRIGGER groups_updated ON groups;
DROP TABLE group_members;
DROP FUNCTION groups_announce();
DROP FUNCTION group_members_announce();
