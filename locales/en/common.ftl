# What several pages share: layouts, navigation, forms, buttons.

layout-skip = Skip to main content
layout-description = Sign in, see where you're signed in, and manage your account.
layout-error = Error:

navigation-site = Site
navigation-account = Account
navigation-overview = Overview
navigation-profile = Profile
navigation-email = Email
navigation-sessions = Sessions
navigation-password = Password
navigation-activity = Activity
navigation-data = Your data
viewer-signed-in = <prefix>Signed in as </prefix>{ $email }

footer-support = Support
footer-terms = Terms of use
footer-privacy = Privacy policy
footer-imprint = Imprint

action-sign-in = Sign in
action-sign-out = Sign out
action-try-again = Try again
action-home-page = Go to the home page
action-create-account = Create account
action-confirm-email = Confirm email address
action-send-another-email = Send another email
action-keep-account = Keep my account

form-problems = { $n ->
    [one] There's a problem:
   *[other] There are { $n } problems:
}
field-email = Email
field-account = Account
field-name = Your name
field-name-hint = The name shown on this site. You can change it later.
field-password = Password
field-new-password = New password
field-password-hint = At least { $min } characters. Several words together work well.
field-code = Code
field-code-hint = Eight letters and digits, like 7K3M-Q2XH.

home-greeting = Welcome back
home-account = Your account
home-account-hint = Your details, and your last sign-in
home-sessions = Your sessions
home-sessions-hint = See where you're signed in, and sign out other devices
home-password = Your password
home-password-hint = Change it, and sign out everywhere else
home-lead = Sign in to { $site }.
home-create-account = Create an account

error-account-link = Go to your account
error-request-id = Request ID <code>{ $id }</code>. Include this ID if you <link>contact us</link>.

# For developers: /dev/mailbox and /dev/templates.

mailbox-title = Mailbox
mailbox-lead = Emails that weren't sent because no mail server is configured. They're visible only on this computer.
mailbox-none = No emails yet. No mail server is configured, so emails appear here instead of being sent. They're visible only on this computer.
mailbox-to = to { $recipient }
mailbox-older = Older emails aren't listed.
mailbox-all = All emails
mailbox-sealed-title = Email can't be decrypted
mailbox-sealed = This email is encrypted with a key that is no longer configured.
mailbox-from-to = From { $from } to { $recipient }
dev-templates-title = Templates
dev-templates-lead = Every page and email in every state, with sample data. They're visible only on this computer.
dev-templates-all = All templates
dev-templates-light = Light
dev-templates-dark = Dark

# Times relative to now, and how long to wait.

time-just-now = just now
time-yesterday = yesterday
time-on-date = on { $date }
time-minutes-ago = { $n ->
    [one] { $n } minute ago
   *[other] { $n } minutes ago
}
time-in-minutes = { $n ->
    [one] in { $n } minute
   *[other] in { $n } minutes
}
time-hours-ago = { $n ->
    [one] { $n } hour ago
   *[other] { $n } hours ago
}
time-in-hours = { $n ->
    [one] in { $n } hour
   *[other] in { $n } hours
}
time-days-ago = { $n ->
    [one] { $n } day ago
   *[other] { $n } days ago
}
time-in-days = { $n ->
    [one] in { $n } day
   *[other] in { $n } days
}
wait-seconds = { $n ->
    [one] a second
   *[other] { $n } seconds
}
wait-minutes = { $n ->
    [one] a minute
   *[other] { $n } minutes
}
wait-hours = { $n ->
    [one] an hour
   *[other] { $n } hours
}
wait-moment = a moment

# Dates and times in UTC: their parts, and what they are made of. The hour is 0 to 23. Day 1 is Monday.

time-exact = { $weekday }, { $date } at { $time } UTC
time-date = { $month } { $day }, { $year }
time-clock = { $hour ->
    [0] 12:{ $minute } AM
    [12] 12:{ $minute } PM
    [13] 1:{ $minute } PM
    [14] 2:{ $minute } PM
    [15] 3:{ $minute } PM
    [16] 4:{ $minute } PM
    [17] 5:{ $minute } PM
    [18] 6:{ $minute } PM
    [19] 7:{ $minute } PM
    [20] 8:{ $minute } PM
    [21] 9:{ $minute } PM
    [22] 10:{ $minute } PM
    [23] 11:{ $minute } PM
   *[other] { $hour }:{ $minute } AM
}
time-weekday-1 = Monday
time-weekday-2 = Tuesday
time-weekday-3 = Wednesday
time-weekday-4 = Thursday
time-weekday-5 = Friday
time-weekday-6 = Saturday
time-weekday-7 = Sunday
time-month-1 = January
time-month-2 = February
time-month-3 = March
time-month-4 = April
time-month-5 = May
time-month-6 = June
time-month-7 = July
time-month-8 = August
time-month-9 = September
time-month-10 = October
time-month-11 = November
time-month-12 = December

# How long something is valid.

time-minutes = { $n ->
    [one] { $n } minute
   *[other] { $n } minutes
}
time-hours = { $n ->
    [one] { $n } hour
   *[other] { $n } hours
}
time-days = { $n ->
    [one] { $n } day
   *[other] { $n } days
}

# Between each three digits of a number: 1,234.

number-separator = ,

# The devices of sessions, from the names of browsers and systems.

device-browser-on = { $browser } on { $system }
device-on = Unknown browser on { $system }
device-app = An app
device-unknown = Unknown device
