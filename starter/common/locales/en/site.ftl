# Sentences of the site. A key of Frontdesk replaces its sentence on all pages and in all mails; docs/MESSAGES.md in
# Frontdesk's source code lists the keys.
#
# overview-title = Your account
