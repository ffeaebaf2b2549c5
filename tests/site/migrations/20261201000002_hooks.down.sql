DROP TABLE hook_behavior;
DROP TABLE hook_calls;
