-- A constraint cannot be made not valid, and there is no need to.
SELECT 1;
