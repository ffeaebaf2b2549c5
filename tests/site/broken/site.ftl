page-count-one = Count at least one.
profile-name-hint = Hello { $who }
page-counted
