# What several pages share: layouts, navigation, forms, buttons.

layout-skip = Skip to main content
layout-description = Sign in, see where you're signed in, and manage your account.
layout-error = Error:

