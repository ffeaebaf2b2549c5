SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

-- The domain of a stored email becomes the one that is compared. Until now it was stored as typed, for example with
-- an ignored character or a percent sign in it. Only such domains differ in more than case.
SET LOCAL frontdesk.actor = 'frontdesk';
-- Mail that an older version wrote is found at the deletion of the account by the email as it was typed.
UPDATE mail_outbox m
   SET recipient_canonical = u.email_canonical
  FROM users u
 WHERE lower(substring(u.email FROM '@[^@]*$')) <> substring(u.email_canonical FROM '@[^@]*$')
   AND m.recipient_canonical IS NULL
   AND lower(m.recipient) = lower(u.email);
UPDATE users
   SET email = regexp_replace(email, '@[^@]*$', '') || substring(email_canonical FROM '@[^@]*$')
 WHERE lower(substring(email FROM '@[^@]*$')) <> substring(email_canonical FROM '@[^@]*$');
UPDATE registrations
   SET email = regexp_replace(email, '@[^@]*$', '') || substring(email_canonical FROM '@[^@]*$')
 WHERE lower(substring(email FROM '@[^@]*$')) <> substring(email_canonical FROM '@[^@]*$');
UPDATE email_tokens
   SET email = regexp_replace(email, '@[^@]*$', '') || substring(email_canonical FROM '@[^@]*$')
 WHERE lower(substring(email FROM '@[^@]*$')) <> substring(email_canonical FROM '@[^@]*$');

-- Refuses other clients of the database that change one of the two without the other, as UPDATE users SET email = '…'
-- does: mail would go to an email with which no one can sign in. For an email in ASCII the canonical form is the email
-- in lower case. Others are normalized by rules that PostgreSQL does not know, so the trigger only requires that both
-- change. Frontdesk computes the canonical form itself, and the WHEN clause skips it. The trigger names no column,
-- because PostgreSQL refuses to change the type of a column that a trigger names.
CREATE FUNCTION check_email_pair() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog
AS
$$
DECLARE
    is_ascii boolean := octet_length(NEW.email || NEW.email_canonical) = char_length(NEW.email || NEW.email_canonical);
    is_other_email boolean := TG_OP = 'INSERT' OR NEW.email <> OLD.email;
    is_other_canonical boolean := TG_OP = 'INSERT' OR NEW.email_canonical <> OLD.email_canonical;
BEGIN
    IF NOT is_other_email AND NOT is_other_canonical THEN
        RETURN NEW;
    END IF;
    IF (is_ascii AND lower(NEW.email COLLATE "C") <> NEW.email_canonical)
       OR (NOT is_ascii AND is_other_email <> is_other_canonical)
    THEN
        RAISE EXCEPTION 'email and email_canonical of a user must be the same email'
            USING ERRCODE = 'check_violation',
                  CONSTRAINT = 'users_email_pair',
                  SCHEMA = TG_TABLE_SCHEMA,
                  TABLE = TG_TABLE_NAME,
                  HINT = 'Run "frontdesk user set-email EMAIL NEW", which sets both, notifies both emails, and ends the sessions and links that the change ends.';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER users_email_pair BEFORE INSERT OR UPDATE ON users
    FOR EACH ROW
    WHEN (current_setting('frontdesk.actor', true) IS DISTINCT FROM 'frontdesk')
    EXECUTE FUNCTION check_email_pair();

COMMENT ON FUNCTION check_email_pair() IS
    'Refuses a user whose email and email_canonical do not belong together.';
COMMENT ON COLUMN users.email IS
    'The email to which mail is sent: the part before the @ as typed, the domain as it is compared. Change it with frontdesk user set-email.';
