# Mails.

## What several mails share.
mail-hello = Hello,
mail-hello-name = Hello { $name },
mail-combined = This email stands for { $count } notices. It describes the latest; we combined them so that you don't get too many emails. You can see <activity>everything that happened</activity>.
mail-combined-text = This email stands for { $count } notices. It describes the latest; we combined them so that you don't get too many emails. To see everything that happened:
mail-sent-by = Sent by { $site }, <link>{ $url }</link>
mail-when = When: { $at }
mail-browser = Browser: { $device }
mail-ip = IP address: { $ip }
mail-was-you = If this was you, you don't need to do anything.
mail-sign-out = If this wasn't you, <sessions>sign out of that browser</sessions>. Then <password>change your password</password>.
mail-sign-out-text = If this wasn't you, sign out of that browser:
mail-then-password-text = Then change your password:
mail-then-sessions-text = Then check where you're signed in:
mail-change-password = If this wasn't you, <password>change your password</password>. Then check <sessions>where you're signed in</sessions>.
mail-change-password-text = If this wasn't you, change your password:
mail-not-expected = If you didn't expect this, check <sessions>where you're signed in</sessions>.
mail-not-expected-text = If you didn't expect this, check where you're signed in:
mail-unwanted-account = If you don't want an account, ignore this email.
mail-choose-password = Choose a password
mail-choose-new-password = Choose a new password
mail-confirm = Confirm this email address
mail-code-lifetime = The link works for { $link } and the code for { $code }. Each can be used only once.
mail-link-lifetime = The link works for { $link } and can be used only once.
mail-new-link = The link works for { $link } and can be used only once. After that, <forgot>request a new link</forgot>.
mail-new-link-text = The link works for { $link } and can be used only once. After that, request a new link:

## One mail after the other.
mail-account-created-subject = Your account at { $site }
mail-account-created-title = Your account
mail-account-created-text = The site's administrators created an account for this email address at { $site }. To choose your password, open this link:

mail-account-deleted-subject = Your account at { $site } has been deleted
mail-account-deleted-title = Your account has been deleted
mail-account-deleted-text = Your account at { $site } has been deleted. For a limited time we keep a security log of what happened and when. It doesn't contain your email address, IP address or browser.
mail-account-deleted-not-you = If you didn't ask for this, contact the site's administrators. This is the last email you'll receive from us.
mail-account-deleted-thanks = Thank you for using { $site }.

mail-account-disabled-subject = Your account at { $site } was disabled
mail-account-disabled-title = Your account was disabled
mail-account-disabled-text = One of the site's administrators disabled your account at { $site }. You were signed out everywhere, and you can't sign in until it's enabled again. Your data is unchanged.
mail-account-disabled-ask = If you don't know why, ask the site's administrators.

mail-account-enabled-subject = Your account at { $site } was enabled again
mail-account-enabled-title = Your account was enabled again
mail-account-enabled-html = One of the site's administrators enabled your account at { $site } again. You can <login>sign in</login> as before.
mail-account-enabled-text = One of the site's administrators enabled your account at { $site } again. You can sign in as before:

mail-address-removed-subject = Your email was removed from an account at { $site }
mail-address-removed-title = Your email was removed
mail-address-removed-text = The account at { $site } that used this email address now uses a different one. You can't sign in to that account with this email address, and we won't send it emails about the account.
mail-address-removed-not-you = If this was your account and you didn't make this change, contact the site's administrators.

mail-already-registered-subject = You already have an account at { $site }
mail-already-registered-title = You already have an account
mail-already-registered-text = Someone (hopefully you) tried to use this email address for a new account at { $site }. You already have an account, so nothing has changed.
mail-already-registered-sign-in-text = Sign in:
mail-already-registered-forgot = Forgot your password? <forgot>Choose a new one</forgot>.
mail-already-registered-forgot-text = Forgot your password? Choose a new one:
mail-already-registered-not-you = If this wasn't you, you don't need to do anything. They can't tell from our site that you have an account.

mail-change-email-subject = Confirm your new email for { $site }
mail-change-email-title = Confirm your new email
mail-change-email-text = Someone (hopefully you) asked to use this email address for their account at { $site }. To confirm, open this link:
mail-change-email-code = Or enter this code on the page where you made the request:
mail-change-email-not-you = If this wasn't you, ignore this email and nothing will change.

mail-verify-email-subject = Confirm your email for { $site }
mail-verify-email-title = Confirm your email
mail-verify-email-text = Please confirm your email address so that we can reach you about your account at { $site }. To confirm, open this link:
mail-verify-email-code = Or sign in and enter this code:
mail-verify-email-not-you = If you don't have an account at { $site }, ignore this email.

mail-verify-registration-subject = Confirm your email for { $site }
mail-verify-registration-title = Confirm your email
mail-verify-registration-text = Someone (hopefully you) is creating an account at { $site } with this email address. To finish, open this link and enter the password you chose:
mail-verify-registration-code = Or enter this code on the page where you signed up:
mail-verify-registration-not-you = If this wasn't you, ignore this email and no account will be created.

mail-data-exported-subject = Your { $site } data was downloaded
mail-data-exported-title = Your data was downloaded
mail-data-exported-text = Someone (hopefully you) just downloaded a file with all the data of your account at { $site }:

mail-deletion-canceled-subject = Your account at { $site } won't be deleted
mail-deletion-canceled-title = Your account won't be deleted
mail-deletion-canceled-text = You chose to keep your account at { $site }, so it won't be deleted. Your data is unchanged.

mail-deletion-scheduled-subject = Your account at { $site } will be deleted
mail-deletion-scheduled-title = Your account will be deleted
mail-deletion-scheduled-text = You asked to delete your account at { $site }.
mail-deletion-scheduled-text-from = You asked to delete your account at { $site }:
mail-deletion-scheduled-when = We'll delete your account and all its data on { $date }.
mail-deletion-scheduled-keep = To keep your account, <account>sign in</account> before then and choose "Keep my account".
mail-deletion-scheduled-keep-text = To keep your account, sign in before then and choose "Keep my account":
mail-deletion-scheduled-not-you = If this wasn't you, keep your account and <password>change your password</password>. Then check <sessions>where you're signed in</sessions>.
mail-deletion-scheduled-not-you-text = If this wasn't you, keep your account and change your password:

mail-email-changed-subject = Your email for { $site } was changed
mail-email-changed-title = Your email was changed
mail-email-changed-html = Your account at { $site } now uses a different email address: <strong>{ $email }</strong>
mail-email-changed-text = Your account at { $site } now uses a different email address:
mail-email-changed-undo = If this wasn't you, undo the change within { $lifetime }. We'll restore this email address, sign out every device, and let you choose a new password:
mail-email-changed-undo-submit = Undo the change
mail-email-changed-check = You can check <sessions>where you're signed in</sessions> at any time.
mail-email-changed-check-text = You can check where you're signed in at any time:

mail-email-confirmed-subject = This is now your email for { $site }
mail-email-confirmed-subject-restored = Your email for { $site } was restored
mail-email-confirmed-title = This is now your email
mail-email-confirmed-title-restored = Your email was restored
mail-email-confirmed-text = Your account at { $site } now uses this email address. Use it to sign in.
mail-email-confirmed-restored = Your account at { $site } uses this email address again. We signed out every device, and the old password no longer works.
mail-email-confirmed-canceled = Someone had asked to delete this account; we canceled that.
mail-email-confirmed-mailbox = If this wasn't you, someone else may be able to read your email. Change the password of your mailbox first.
mail-email-confirmed-forgot = If you haven't chosen a new password yet, you can <forgot>do it here</forgot>. Then check <sessions>where you're signed in</sessions>.
mail-email-confirmed-forgot-text = If you haven't chosen a new password yet, you can do it here:

mail-failed-sign-ins-subject = Failed sign-ins to your account at { $site }
mail-failed-sign-ins-subject-session = Wrong passwords in your account at { $site }
mail-failed-sign-ins-title = Failed sign-ins
mail-failed-sign-ins-title-session = Wrong passwords
mail-failed-sign-ins-text = Someone tried several times to sign in to your account at { $site } with a wrong password. They didn't get in, and we now make them wait between attempts. The latest attempt:
mail-failed-sign-ins-text-session = Someone who is signed in to your account at { $site } entered a wrong password several times, to change something that needs it. Nothing was changed, and we now make them wait between attempts. The latest attempt:
mail-failed-sign-ins-reset = If this was you and you don't remember your password, <forgot>reset it</forgot>.
mail-failed-sign-ins-reset-text = If this was you and you don't remember your password, reset it:
mail-failed-sign-ins-not-you = If this wasn't you, make sure that your password is hard to guess and that you use it on no other site. You can <password>change it</password>.
mail-failed-sign-ins-not-you-text = If this wasn't you, make sure that your password is hard to guess and that you use it on no other site. You can change it here:
mail-failed-sign-ins-session = If this wasn't you, someone is using a place where you're signed in: <sessions>sign it out</sessions>, then <password>change your password</password>.
mail-failed-sign-ins-session-text = If this wasn't you, someone is using a place where you're signed in. Sign it out:
mail-failed-sign-ins-activity = Your <activity>activity</activity> shows every attempt; we send this email at most once a day.
mail-failed-sign-ins-activity-text = Your activity shows every attempt; we send this email at most once a day:
mail-failed-sign-ins-check = You can also check <sessions>where you're signed in</sessions>.
mail-failed-sign-ins-check-text = You can also check where you're signed in:

mail-invitation-subject = Your invitation to { $site }
mail-invitation-title = Your invitation
mail-invitation-text = The site's administrators invite you to { $site }. To create your account, open this link:
mail-invitation-submit = Create your account

mail-new-device-subject = { $count ->
    [one] New sign-in to your account at { $site }
   *[other] { $count } new sign-ins to your account at { $site }
}
mail-new-device-title = { $count ->
    [one] New sign-in
   *[other] { $count } new sign-ins
}
mail-new-device-text = { $count ->
    [one] Someone (hopefully you) just signed in to your account at { $site } from a new browser:
   *[other] There were { $count } new sign-ins to your account at { $site }, each from a new browser. The latest:
}

mail-new-password-required-subject = Choose a new password for { $site }
mail-new-password-required-title = Choose a new password
mail-new-password-required-text = The site's administrators require a new password for your account at { $site }. Your old password no longer works, and you've been signed out everywhere. To choose a new one, open this link:

mail-password-changed-subject = Your { $site } password was changed
mail-password-changed-title = Your password was changed
mail-password-changed-text = Your password for { $site } was changed. All your other devices were signed out.
mail-password-changed-reset = Your password for { $site } was reset using a link sent to this email address. You were signed out everywhere.
mail-password-changed-operator = Your password for { $site } was changed by one of the site's administrators. You were signed out everywhere.
mail-password-changed-asked = If you asked for this, you don't need to do anything.
mail-password-changed-not-asked = If you didn't ask for this, <forgot>reset your password</forgot> right away. Then check <sessions>where you're signed in</sessions>.
mail-password-changed-not-asked-text = If you didn't ask for this, reset your password right away:
mail-password-changed-not-you = If this wasn't you, <forgot>reset your password</forgot> right away. Then check <sessions>where you're signed in</sessions>.
mail-password-changed-not-you-text = If this wasn't you, reset your password right away:

mail-reset-password-subject = Reset your { $site } password
mail-reset-password-title = Reset your password
mail-reset-password-text = Someone (hopefully you) asked to reset your password for { $site }. To choose a new one, open this link:
mail-reset-password-lifetime = The link works for { $link } and can be used only once. When you choose a new password, you'll be signed out everywhere.
mail-reset-password-not-you = If this wasn't you, ignore this email and your password won't change.

mail-role-changed-subject = Your role at { $site } was changed
mail-role-changed-title = Your role was changed
mail-role-changed-admin = One of the site's administrators made you an administrator of { $site }.
mail-role-changed-user = One of the site's administrators changed your role: you're no longer an administrator of { $site }.
mail-role-changed-signed-out = You were signed out everywhere. <login>Sign in</login> to continue.
mail-role-changed-signed-out-text = You were signed out everywhere. Sign in to continue:
mail-role-changed-not-expected = If you didn't expect this, ask the site's administrators, and check <sessions>where you're signed in</sessions>.
mail-role-changed-not-expected-text = If you didn't expect this, ask the site's administrators, and check where you're signed in:

mail-sign-in-after-failures-subject = Sign-in after failed attempts to your account at { $site }
mail-sign-in-after-failures-title = Sign-in after failed attempts
mail-sign-in-after-failures-text = Someone (hopefully you) just signed in to your account at { $site } after { $n } attempts with a wrong password:
mail-sign-in-after-failures-not-you = If this wasn't you, someone has guessed your password. <sessions>Sign out of that browser</sessions>, then <password>change your password</password>.
mail-sign-in-after-failures-not-you-text = If this wasn't you, someone has guessed your password. Sign out of that browser:
