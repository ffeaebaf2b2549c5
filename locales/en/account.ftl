# The account pages.

account-asks-for-password = We'll ask for your password first.

overview-title = Overview
overview-due = This account will be deleted { $when }, as you requested. <link>Keep my account</link>
overview-greeting = Hello, { $name }
overview-about-you = About you
overview-name = Name
overview-change-name = Change<hidden> your name</hidden>
overview-email = Email
overview-change-email = Change<hidden> your email</hidden>
overview-joined = Joined
overview-sign-in = Sign-in
overview-last-sign-in = Last sign-in
overview-no-sign-in = No earlier sign-ins.
overview-signed-in = Signed in
overview-sessions = View sessions
overview-not-you = Wasn't you? <link>Change your password</link> – that signs out everyone else.
overview-recommendations = Recommendations
overview-no-recommendations = Nothing to do. Your account is in good shape.

sessions-title = Sessions
sessions-count = { $n ->
    [one] on this device only
   *[other] on { $n } devices
}
sessions-only-this = You're signed in only on this device.
sessions-lead = All the devices where you're signed in. Sign out any you don't recognize or no longer use; it takes effect immediately.
sessions-limit = { $n ->
    [one] You can be signed in on at most { $n } device. When you sign in on another one, you'll be signed out of the least recently used one.
   *[other] You can be signed in on at most { $n } devices. When you sign in on another one, you'll be signed out of the least recently used one.
}
sessions-this-device = This device
sessions-signed-in = signed in { $when }
sessions-last-seen = last seen { $when }
sessions-last-seen-from = last seen { $when } from <strong>{ $ip }</strong>
sessions-used-elsewhere = also used from <strong>{ $ip }</strong> { $when }
sessions-remembered = stays{"\u00A0"}signed{"\u00A0"}in
sessions-sign-out = Sign out<hidden> of { $name }</hidden>
sessions-none = There are no more sessions.
sessions-first-page = First page
sessions-older = Older sessions
sessions-sign-out-others = Sign out everywhere else ({ $n })
sessions-this-device-stays = This device stays signed in.

profile-title = Profile
profile-name-hint = The name shown on this site. Up to 64 characters.
profile-submit = Save name

email-title = Email
email-current = Your email address
email-confirmed = Confirmed.
email-not-confirmed = Not confirmed yet.
email-verification-sent = We sent you an email. Open the link in it, or enter the code here within { $lifetime }.
email-code = Code for your email address
email-send = Send confirmation email
email-new = Your new email address
email-new-explanation = We sent an email to { $email }. Open the link in it, or enter the code here within { $lifetime }. Nothing changes until you do.
email-new-code = Code for your new email address
email-new-submit = Use new email address
email-change = Change your email address
email-change-explanation = We'll send a confirmation link to the new email address first. When you confirm it, you'll be signed out everywhere else.
email-change-undo = We'll also notify your old email address. The link in that email can undo the change for { $lifetime }.
email-change-field = New email
email-change-submit = Change email
email-no-mail = This site doesn't send email, so a new email address can't be confirmed. Contact the site's administrators.

password-title = Password
password-explanation = Changing your password signs you out everywhere else. This device stays signed in.
password-current = Current password
password-submit = Change password

activity-title = Activity
activity-lead = Recent activity on your account, newest first. Don't recognize something? <link>Change your password</link> – that signs out everyone else.
activity-please-check = Please check:
activity-this-session = This session
activity-period = { $at }, since { $since }
activity-newest = Newest
activity-older = Older
activity-none = No recent activity.
activity-none-older = No older activity.

export-title = Your data
export-download = Download your data
export-explanation = Everything we store about you, in one JSON file: your account, the devices where you're signed in, your account's activity, the emails we sent you, and which links in them still work. Your password isn't included: we don't store it, only a hash that we use to check it.
export-delete = Delete your account
export-delete-explanation = Delete your account and everything in it. You can review what happens on the next page before anything is deleted.
export-delete-link = Delete your account…

delete-title = Delete your account
delete-failed-title = Account deletion failed
delete-failed = We couldn't delete your account. Please contact <link>the site's administrators</link>.
delete-scheduled-title = Your account is scheduled for deletion
delete-scheduled = As you requested, the account for <strong>{ $email }</strong> will be deleted <strong>{ $when }</strong>, on { $date }. Until then, nothing is removed.
delete-otherwise = If you do nothing, it will be deleted.
delete-not-requested = Didn't request this? Keep your account, then <link>change your password</link>.
delete-about = You're about to delete the account <strong>{ $name }</strong> (<strong>{ $email }</strong>).
delete-right-away = Right away
delete-signed-out = { $n ->
    [one] You'll be signed out on this device.
   *[other] You'll be signed out on all { $n } devices.
}
delete-email = We'll email { $email } to say that deletion was requested.
delete-after = { $n ->
    [one] After { $n } day
   *[other] After { $n } days
}
delete-permanently = On { $date } we'll permanently delete your account, including your name, email address, password, and our copies of the emails and links we sent you. This can't be undone.
delete-log = For a limited time we keep an anonymous security log (what happened and when) that no longer contains your email, IP address or browser.
delete-change-mind = If you change your mind
delete-keep = Sign in before then and choose “Keep my account”.
delete-submit = Delete my account
delete-export = Download your data first

confirm-title = Confirm it's you
confirm-explanation = For your security, please enter your password. Then you'll continue where you left off.
confirm-submit = Continue
confirm-back = Back to your account

# What was done.

email-changed-notice = Your email address is now { $email }, and you've been signed out everywhere else.
email-confirmed-notice = { $email } is confirmed.
sessions-signed-out = Signed out of { $device }.
sessions-no-others = You weren't signed in anywhere else.
sessions-others-signed-out = { $n ->
    [one] Signed out on { $number } other device.
   *[other] Signed out on { $number } other devices.
}
sessions-name = { $device }, signed in { $date }
sessions-name-from = { $device }, signed in { $date } from { $ip }
sessions-name-this = { $device }, this device
sessions-name-numbered = { $name }, number { $n }
profile-saved = Your name is now { $name }.
email-sent = We've sent an email to { $email }.
email-enough = We've already sent several emails to that address, so we didn't send another one. Try again later. A link that you've received for this account works until it expires.
email-already-confirmed = Your email address is already confirmed.
email-same = That's already your email address. Enter a different one.
delete-requested = You're signed out everywhere. Your account will be deleted on { $date }. To keep it, sign in before then.
delete-canceled = Your account won't be deleted.
delete-not-scheduled = Your account wasn't scheduled for deletion.
password-changed = Your password has been changed.
password-changed-others = { $n ->
    [one] Your password has been changed, and you've been signed out on your other device.
   *[other] Your password has been changed, and you've been signed out on { $n } other devices.
}
password-same = That's already your password. Choose a different one.
confirm-export = You confirmed it's you. You can download your data now.
confirm-expired = Your request expired and nothing was changed. Please start again.
overview-confirm-email = Confirm your email address so we can reach you.
overview-many-sessions = You're signed in on { $n } devices. Sign out the ones you don't use.

# The audit events of the activity page, and why they happened.

event-registered = Account created
event-invited = Invited
event-signed-in = Signed in
event-sign-in-refused = Sign-in refused
event-code-refused = Wrong or expired code entered
event-link-refused = A link that no longer works was used
event-session-ended = { $n ->
    [one] Session ended
   *[other] { $n } sessions ended
}
event-all-sessions-ended = Signed out everywhere
event-password-changed = Password changed
event-password-reset = Password reset by email link
event-password-invalidated = Password stopped working
event-password-reset-requested = Password reset requested
event-reauthenticated = Password confirmed
event-reauthentication-refused = Wrong password entered in a signed-in session
event-email-verified = Email address confirmed
event-email-change-requested = Email change requested
event-email-changed = Email address changed
event-email-change-undone = Email change undone
event-role-changed = Role changed
event-account-disabled = Account disabled
event-account-enabled = Account re-enabled
event-account-unlocked = Sign-in limit lifted
event-imported = Account imported
event-deletion-requested = Account deletion requested
event-deletion-canceled = Account deletion canceled
event-deletion-failed = Account deletion failed
event-account-deleted = Account deleted
event-data-exported = Data exported
event-group-changed = Group changed
event-group-member-added = Added to a group
event-group-member-removed = Removed from a group
cause-signed-out = signed out
cause-revoked = signed out remotely
cause-password-changed = password changed
cause-password-reset = password reset
cause-email-changed = email address changed
cause-email-change-undone = email change undone
cause-role-changed = role changed
cause-deletion-requested = account deletion requested
cause-deleted = account deleted
cause-disabled = account disabled
cause-replaced = signed in again in the same browser
cause-session-limit = signed in on too many devices
cause-expired = expired
refusal-wrong-password = wrong password
refusal-disabled = account disabled
refusal-rate-limited = too many attempts; new ones are delayed
refusal-unknown-account = no account with this email
refusal-email-change-undone = email change undone
refusal-new-password-required = a new password is required
event-other = Other account activity
event-with-reason = { $event }: { $why }
event-on-device = { $event } ({ $device })
event-attempts = Refused attempts and requests
event-times = { $number } times
event-at-least = at least { $times }
event-kind = { $event }, { $times }
source-operator = by an administrator
source-system = automatically
source-database = by an administrator, in the database
source-others = and others
