"""Programs that a user would run. Each uses public names only, and each is also a test."""
