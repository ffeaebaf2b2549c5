SET LOCAL lock_timeout = '3s';

DROP TABLE form_answers;
