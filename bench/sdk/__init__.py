"""What a send costs the application's own process."""
