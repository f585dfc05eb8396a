"""Which arguments are a query's candidates, in what order they come, and what that order is worth."""
