# Signing in, creating an account, and mailed links.

login-title = Sign in
login-forgot-password = Forgot your password?
login-remember-me = Keep me signed in
login-remember-me-hint = Only use this on your own device.
login-new-here = New here? <link>Create an account</link>

cookies-blocked-title = Cookies are blocked
cookies-blocked-explanation = Your browser doesn't accept cookies from this site, and without them you can't stay signed in. You haven't been signed in, and nothing was changed.
cookies-blocked-advice = Allow cookies for this site in your browser's settings, then try again.

register-title = Create an account
register-has-account = Already have an account? <link>Sign in</link>
register-terms = By creating an account, you agree to the <terms>terms of use</terms>.
register-terms-privacy = By creating an account, you agree to the <terms>terms of use</terms> and confirm that you have read the <privacy>privacy policy</privacy>.
register-closed-title = Registration is closed
register-closed-explanation = New accounts are created by this site's administrators. <link>Contact them</link> to get one, then come back to sign in.

invitation-title = Create your account
invitation-unwanted = Don't want an account? Just close this page – nothing will change.

verify-code-title = Check your email
verify-code-explanation = We sent an email to { $email }. Open the link in it, or enter the code here within { $lifetime }.
verify-code-no-email = Didn't get the email? Check your spam folder first.
verify-code-start-over = Wrong email address? <link>Start over</link>

verify-email-title = Confirm your email address
verify-email-new = Enter the password you chose to finish creating your account for { $email }.
verify-email-change = Your account will use { $email } from now on, and you'll be signed out everywhere else.
verify-email-confirm = Confirm that { $email } is the email address of your account.
verify-email-password = Enter your account password.
verify-email-unwanted = Wasn't you? Just close this page – nothing will change.

forgot-password-title = Reset your password
forgot-password-explanation = Enter your account's email address and we'll send you a link to reset your password.
forgot-password-submit = Send link
forgot-password-remembered = Remembered it? <link>Sign in</link>
forgot-password-no-mail = This site doesn't send email. Contact the site's administrators to reset your password.
forgot-password-sent-title = Check your email
forgot-password-sent = If an account exists for that email address, you'll get an email with a link to reset the password. The link works for { $lifetime }.
forgot-password-no-email = No email after a few minutes? Check your spam folder, or try the email address you signed up with.
forgot-password-another = Try another email address

reset-password-title = Choose a new password
reset-password-due = This account is scheduled for deletion: it will be deleted <strong>{ $when }</strong>, on { $date }. A new password alone doesn't change that.
reset-password-explanation = You'll be signed out everywhere and can then sign in with your new password.
reset-password-keep-account-hint = Cancels the deletion. You can also do this after you've signed in.
reset-password-submit = Set new password

undo-email-title = Restore your email address
undo-email-taken = We can't change your account back right now: another account uses { $email }. Nothing was changed, and this link still works. If that account is yours, change its email and try again. Otherwise, contact the site's administrators.
undo-email-explanation = We'll change your account back to { $email } and sign out every device. The current password will stop working, and you'll choose a new one.
undo-email-submit = Restore my email address
undo-email-unwanted = Did you change it yourself? Just close this page – nothing will change.

link-gone-title = This link no longer works
link-gone-explanation = This link has expired or has already been used.
link-unopened-title = Open the link again
link-unopened-explanation = This page works for { $lifetime } after you open the link in our email. Open it again to continue.
link-unopened-cookies = If you come back here, your browser blocks cookies. Allow them for this site, then open the link again.

# What was done, and why a link or a session no longer works.

undo-email-done = Your email is { $email } again and all devices are signed out. Now choose a new password.
undo-email-done-before = Your email is restored and all devices are signed out. Now choose a new password.
link-gone-undo = Email changes can be undone for { $lifetime }. If this is your account's email, you can still reset your password.
link-gone-reset = Request a new one. It works for { $lifetime }, and only the latest link is valid.
link-gone-reset-link = Request a new link
reset-password-done = Your password has been changed, and you've been signed out everywhere. Sign in with your new password.
reset-password-done-due = Your password has been changed, and you've been signed out everywhere. Sign in with your new password. Your account will still be deleted on { $date }. To keep it, sign in and choose “Keep my account”.
reset-password-done-kept = Your password has been changed, and you've been signed out everywhere. Sign in with your new password. Your account won't be deleted.
reset-password-done-other = The password of { $email } has been changed. You're still signed in to another account.
link-gone-invitation = If you have created your account already, sign in. Otherwise, ask the site's administrators for another invitation.
link-gone-verify = Sign in to see whether your email address is confirmed, or to get another email. If you never finished signing up, create your account again.
verify-email-welcome = Your email address is confirmed. This is your account.
verify-code-sign-in = Your email address is confirmed. Sign in with your password.
verify-code-again = We're sending a new email. Its link and code replace those of the last one.
signed-out = You're signed out.
login-wrong = That email or password is incorrect. Check both, or reset your password.
login-account-changed = Your account changed while you were signing in. Please sign in again.
login-limit = { $n ->
    [one] { $limit ->
        [one] Signed out of your least recently used device: you can be signed in on at most { $limit } device.
       *[other] Signed out of your least recently used device: you can be signed in on at most { $limit } devices.
    }
   *[other] { $limit ->
        [one] Signed out of your { $n } least recently used devices: you can be signed in on at most { $limit } device.
       *[other] Signed out of your { $n } least recently used devices: you can be signed in on at most { $limit } devices.
    }
}
register-email-taken = An account with this email already exists. Sign in, or use a different email.
ended-session-revoked = You've been signed out from another device or by the site's administrators. Sign in to continue.
ended-session-password = You've been signed out because your password was changed. Sign in with the new one.
ended-session-email = You've been signed out because the email address of your account was changed. Sign in to continue.
ended-session-email-undone = You've been signed out because a change of your email address was undone. Sign in to continue.
ended-session-deletion = You've been signed out because the deletion of your account was requested. To keep it, sign in.
ended-session-limit = You've been signed out because you signed in on more devices than this site allows. Sign in to continue.
ended-session-signed-out = You've signed out. Sign in to continue.
ended-session = Your session has ended, for example because it expired. Sign in to continue.
