# These replace sentences of Frontdesk.
profile-name-hint = How the shop calls you.
mail-reset-password-subject = { $site }: choose a new password

# These are the site's own.
page-lead = Counted by <strong>hand</strong>, see <link>the site</link>
page-count-one = Count at least one.
page-counted = { $n ->
    [one] { $name } counted one.
   *[other] { $name } counted { $n }.
}
reminder-subject = Reminder from { $site }
reminder-text = Remember: { $text }
